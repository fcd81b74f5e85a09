// Package closing has nothing but tests: they count how a WebSocket ends, as its client
// sees it. Each way to end one, with each library and each shape of handler, is tried by
// Chromium, by the ws package of Node.js, and by a client that reads bare frames.
//
//	e2e/setup.sh
//	go test ./e2e/closing
//	go test ./e2e/closing -closes 200 -timeout 1h
//
// The last one closes 200 connections in each case, where the first closes a few.
package closing
