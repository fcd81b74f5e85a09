// Package e2e has nothing but tests: they drive examples/push in a real browser.
//
//	e2e/setup.sh
//	go test ./e2e
//	go test ./e2e -run Screenshots -update
//
// The last one takes five minutes, and writes e2e/screenshots.
package e2e
