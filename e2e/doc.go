// Package e2e contains only tests. They open examples/push and the dashboard in a real browser.
//
//	e2e/setup.sh
//	go test ./e2e
//	go test ./e2e -run Screenshots -update
//
// The last command takes five minutes, and writes e2e/screenshots.
package e2e
