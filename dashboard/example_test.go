package dashboard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/dashboard"
)

// Put the dashboard behind the authentication of your operators.
func ExampleHandler() {
	pool := gcpool.NewPool()
	operators := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, password, _ := r.BasicAuth(); password != "from your secrets" {
				w.Header().Set("WWW-Authenticate", "Basic")
				http.Error(w, "operators only", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	mux := http.NewServeMux()
	mux.Handle("/debug/gcpool/", operators(dashboard.Handler(pool)))

	for _, password := range []string{"a guess", "from your secrets"} {
		r := httptest.NewRequest(http.MethodGet, "/debug/gcpool/", nil)
		r.SetBasicAuth("operator", password)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 401
	// 200
}
