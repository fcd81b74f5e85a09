// Package closing contains only tests, which count how WebSockets end for their clients.
// Chromium, Firefox, the ws package of Node.js, and a client that reads raw frames try each way
// to end a WebSocket, with each library and each kind of handler, and through proxies.
//
//	e2e/setup.sh proxies
//	go test ./e2e/closing
//	go test ./e2e/closing -closes 200 -timeout 1h
//
// The last command closes 200 connections in each case; the one before it, a few.
package closing
