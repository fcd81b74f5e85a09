//go:build !race

// Package release tries out a release before it is made. The race
// detector has nothing to find in it.
package release

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	_ "github.com/nulijiabei/gcpool" // so that the go command reruns these tests when it changes
)

const (
	root = "../.."
	path = "github.com/nulijiabei/gcpool"
)

// released are the folders of the modules that get a tag.
var released = []string{"", "metrics", "cluster", "torture"}

// TestGoGet serves the modules as a proxy would serve them once they are tagged, and gets them
// into a new module with each page's own command.
func TestGoGet(t *testing.T) {
	version := latest(t)
	proxy, cache := serve(t, version), t.TempDir()
	for page, program := range map[string]string{
		"README.md":         printed(t, "README.md"),
		"README.zh-CN.md":   printed(t, "README.zh-CN.md"),
		"cluster/README.md": importing("cluster"),
		"metrics/README.md": importing("metrics"),
		"docs/migrating.md": importing(""),
	} {
		t.Run(strings.ReplaceAll(page, "/", " "), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			goes(t, dir, cache, proxy, "mod", "init", "example.com/server")
			goes(t, dir, cache, proxy, strings.Fields(command(t, page))[1:]...)
			goes(t, dir, cache, proxy, "vet", ".")
			if got := goes(t, dir, cache, proxy, "list", "-m", path); got != path+" "+version+"\n" {
				t.Errorf("go get got %s", got)
			}
		})
	}
}

// latest returns the latest version in CHANGELOG.md, which every module must require.
func latest(t *testing.T) string {
	t.Helper()
	version := "v" + found(t, "CHANGELOG.md", `(?m)^## \[(\d\S*)\]`)
	files, err := exec.Command("git", "-C", root, "ls-files", "go.mod", "*/go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.FieldsSeq(string(files)) {
		m, err := modfile.Parse(file, read(t, file), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.Require {
			if strings.HasPrefix(r.Mod.Path, path) && r.Mod.Version != version {
				t.Errorf("%s requires %s, and the CHANGELOG's latest is %s", file, r.Mod, version)
			}
		}
	}
	return version
}

// serve writes the files that a module proxy serves, and returns its address.
func serve(t *testing.T, version string) string {
	t.Helper()
	proxy := t.TempDir()
	for _, folder := range released {
		m := module.Version{Path: strings.TrimSuffix(path+"/"+folder, "/"), Version: version}
		var archive bytes.Buffer
		if err := zip.CreateFromDir(&archive, m, filepath.Join(root, folder)); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s is %d KB", m, archive.Len()>>10)
		for name, data := range map[string][]byte{
			"list":            []byte(version + "\n"),
			version + ".info": []byte(`{"Version":"` + version + `","Time":"` + time.Now().UTC().Format(time.RFC3339) + `"}`),
			version + ".mod":  read(t, filepath.Join(folder, "go.mod")),
			version + ".zip":  archive.Bytes(),
		} {
			file := filepath.Join(proxy, m.Path, "@v", name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return "file://" + filepath.ToSlash(proxy)
}

// goes runs the go command in dir, with a module cache of the test's own, so that no other
// build finds an unreleased version. Other modules come from the usual cache if they are there.
func goes(t *testing.T, dir, cache, proxy string, args ...string) string {
	t.Helper()
	cached := "file://" + filepath.ToSlash(filepath.Join(env(t, "GOMODCACHE"), "cache", "download"))
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw", "GONOSUMDB="+path,
		"GOMODCACHE="+cache,
		"GOPROXY="+proxy+","+cached+","+env(t, "GOPROXY"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, &errs)
	}
	return string(out)
}

func env(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// command returns the page's first command that gets gcpool.
func command(t *testing.T, page string) string {
	t.Helper()
	return found(t, page, `(?m)^ {4}(go get `+path+`.*)$`)
}

// printed returns the page's first program.
func printed(t *testing.T, page string) string {
	t.Helper()
	return found(t, page, "(?ms)^```go\n(package main.*?)^```$")
}

// importing returns a program that imports a released module.
func importing(folder string) string {
	return "package main\n\nimport _ \"" + strings.TrimSuffix(path+"/"+folder, "/") + "\"\n\nfunc main() {}\n"
}

func found(t *testing.T, page, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindSubmatch(read(t, page))
	if match == nil {
		t.Fatalf("%s has no %s", page, pattern)
	}
	return string(match[1])
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
