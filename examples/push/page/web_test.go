package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// startPage serves a page of a server alone, without WebSockets.
func startPage(t *testing.T) string {
	t.Helper()
	nothing := http.NotFoundHandler()
	web := httptest.NewServer(New(Config{}).Handler(nothing, nothing))
	t.Cleanup(web.Close)
	return web.URL
}

func TestSignInIsForThisSiteOnly(t *testing.T) {
	t.Parallel()
	server := startPage(t)
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"} {
		r, _ := http.NewRequest("POST", server+"/signin", strings.NewReader("name=alice"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(header, value)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) > 0 {
			t.Errorf("%s: %s: status %d", header, value, answer.StatusCode)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	server := startPage(t)
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	post := func(path string, form url.Values) (int, string) {
		answer, err := browser.PostForm(server+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body)
	}
	if status, body := post("/signin", url.Values{"name": {"  Zoë 1 "}}); status != 200 || !strings.Contains(body, `"Zoë 1"`) {
		t.Errorf("sign in: %d %s", status, body)
	}
	if status, body := post("/signin", url.Values{"name": {" "}}); status != 400 || !strings.Contains(body, "enter a name") {
		t.Errorf("empty name: %d %s", status, body)
	}
	if status, body := post("/signout", nil); status != 200 || !strings.Contains(body, `"name":""`) {
		t.Errorf("sign out: %d %s", status, body)
	}
}

func TestPageCarriesItsPolicy(t *testing.T) {
	t.Parallel()
	answer, err := http.Get(startPage(t))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if bytes.Count(body, []byte("<script")) != 1 || bytes.Count(body, []byte("<style")) != 1 || !bytes.HasSuffix(body, []byte("</html>\n")) {
		t.Error("the page is not the one file with one script and one style")
	}
	between := func(from, to string) string { // as a browser hashes it
		_, rest, _ := bytes.Cut(body, []byte(from))
		text, _, _ := bytes.Cut(rest, []byte(to))
		sum := sha256.Sum256(text)
		return fmt.Sprintf("-src 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
	}
	policy := answer.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "connect-src 'self'", "script" + between("<script>", "</script>"), "style" + between("<style>", "</style>")} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q is without %q", policy, part)
		}
	}
	if answer.Header.Get("X-Content-Type-Options") != "nosniff" || answer.Header.Get("Referrer-Policy") == "" {
		t.Errorf("headers are %v", answer.Header)
	}
}
