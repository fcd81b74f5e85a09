package docs

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The links of a Markdown file that GitHub renders: inline links and images, reference
// definitions, and HTML attributes.
var (
	codeSpan   = regexp.MustCompile("``[^`]+``|`[^`]+`")
	inlineLink = regexp.MustCompile(`\]\(\s*<?([^)\s>]*)>?(?:\s+["'][^"']*["'])?\s*\)`)
	definition = regexp.MustCompile(`^ {0,3}\[([^\]]+)\]:\s*<?([^\s>]+)`)
	reference  = regexp.MustCompile(`\]\[([^\]]+)\]`)
	attribute  = regexp.MustCompile(`(?:href|src|srcset)\s*=\s*["']([^"']+)["']`)
	heading    = regexp.MustCompile(`^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$`)
	anchor     = regexp.MustCompile(`<[^>]+\s(?:id|name)=["']([^"']+)["']`)
	linkText   = regexp.MustCompile(`!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])`)
)

func TestEveryLinkInMarkdownResolves(t *testing.T) {
	files := markdown(t)
	if len(files) == 0 {
		t.Fatal("found no Markdown files")
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range broken(os.DirFS(root), file, string(text)) {
			t.Errorf("%s%s", file, problem)
		}
	}
}

// markdown returns our own Markdown files below root.
func markdown(t *testing.T) []string { return filesWith(t, ".md") }

// filesWith returns our own files below root that have the given extension.
func filesWith(t *testing.T, extension string) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "node_modules", "testdata"}, d.Name()) {
			return fs.SkipDir
		}
		if !d.IsDir() && filepath.Ext(path) == extension {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// broken returns the problems with the links of a file, each as ":line: why".
func broken(repository fs.FS, file, text string) []string {
	var problems []string
	defined := make(map[string]bool)
	lines := prose(text)
	for _, line := range lines {
		if m := definition.FindStringSubmatch(line); m != nil {
			defined[strings.ToLower(m[1])] = true
		}
	}
	for i, line := range lines {
		report := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf(":%d: ", i+1)+fmt.Sprintf(format, args...))
		}
		for _, target := range targets(line) {
			if why := unreachable(repository, file, text, target); why != "" {
				report("%s: %s", target, why)
			}
		}
		for _, m := range reference.FindAllStringSubmatch(line, -1) {
			if !defined[strings.ToLower(m[1])] {
				report("[%s] is not defined", m[1])
			}
		}
	}
	return problems
}

// prose returns the lines of a text, with all code blanked out.
func prose(text string) []string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	fence := ""
	for i, line := range lines {
		trimmed := strings.TrimLeft(line, " >")
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
			lines[i] = ""
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			fence = trimmed[:3]
			lines[i] = ""
		case strings.HasPrefix(line, "    ") && (i == 0 || lines[i-1] == "" || strings.HasPrefix(lines[i-1], "\x00")):
			lines[i] = "\x00" // an indented block, which the next line may continue
		default:
			if !heading.MatchString(line) { // anchors are made from code too
				lines[i] = codeSpan.ReplaceAllString(line, "")
			}
		}
	}
	return lines
}

func targets(line string) []string {
	var all []string
	for _, m := range inlineLink.FindAllStringSubmatch(line, -1) {
		all = append(all, m[1])
	}
	if m := definition.FindStringSubmatch(line); m != nil {
		all = append(all, m[2])
	}
	for _, m := range attribute.FindAllStringSubmatch(line, -1) {
		all = append(all, m[1])
	}
	return all
}

// unreachable says why a target cannot be reached. It returns "" if
// the target exists or is on the web.
func unreachable(repository fs.FS, file, text, target string) string {
	u, err := url.Parse(target)
	switch {
	case err != nil || target == "":
		return "not a link"
	case u.Scheme == "https" || u.Scheme == "http" || u.Scheme == "mailto":
		return ""
	case u.Scheme != "" || u.Host != "":
		return "neither relative nor a web address"
	}
	if u.Path != "" {
		path := filepath.ToSlash(filepath.Join(filepath.Dir(file), u.Path))
		if strings.HasPrefix(u.Path, "/") {
			path = strings.TrimPrefix(filepath.ToSlash(filepath.Clean(u.Path)), "/")
		}
		if _, err := fs.Stat(repository, path); err != nil {
			return "no such file in the repository"
		}
		if u.Fragment == "" || filepath.Ext(path) != ".md" {
			return ""
		}
		content, err := fs.ReadFile(repository, path)
		if err != nil {
			return err.Error()
		}
		text = string(content)
	}
	if u.Fragment != "" && !slices.Contains(anchors(text), u.Fragment) {
		return "no heading has this anchor"
	}
	return ""
}

// anchors returns the anchors that GitHub generates from the headings of a file, and those in HTML.
func anchors(text string) []string {
	var all []string
	count := make(map[string]int)
	for _, line := range prose(text) {
		if m := heading.FindStringSubmatch(line); m != nil {
			slug := slugOf(m[1])
			n := count[slug]
			count[slug]++
			if n > 0 {
				slug += fmt.Sprint("-", n)
			}
			all = append(all, slug)
		}
		for _, m := range anchor.FindAllStringSubmatch(line, -1) {
			all = append(all, m[1])
		}
	}
	return all
}

func slugOf(heading string) string {
	heading = linkText.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.Mn, r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func TestBrokenLinksAreFound(t *testing.T) {
	text := "# A `Heading`, or two\n\n# Again\n\n## Again\n\n<a id=\"here\"></a>\n\n```\n[code](nowhere.md)\n```\n\n" +
		"text with `[code](nowhere.md)`\n\n    [code](nowhere.md)\n\n# 中文 标题\n"
	for link, ok := range map[string]bool{
		"[x](#a-heading-or-two)": true, "[x](#again)": true, "[x](#again-1)": true, "[x](#here)": true,
		"[x](README.md)": true, "[x](README.md#status)": true, "![x](dashboard/icon.svg)": true, "[x](/LICENSE)": true,
		"[x](https://example.com/a#b)": true, "[x](#中文-标题)": true, `[x](README.md "a title")`: true,
		"[x]: README.md": true, `<img src="dashboard/icon.svg">`: true, "[x](dashboard/)": true,
		"[x](#again-2)": false, "[x](#code)": false, "[x](nowhere.md)": false, "[x](README.md#nothing)": false,
		"![x](nowhere.svg)": false, "[x](../outside.md)": false, "[x][undefined]": false, "[x]()": false,
		"[x]: nowhere.md": false, `<a href="nowhere.html">`: false, "[x](file:///etc/passwd)": false,
	} {
		problems := broken(os.DirFS(root), "TEXT.md", text+"\n"+link+"\n")
		if ok != (len(problems) == 0) {
			t.Errorf("%s: %q", link, problems)
		}
	}
}

// A test that a page cites as its witness must be in the file that the page links to.
var witness = regexp.MustCompile(`\[((?:Test|Fuzz|Benchmark|Example)\w*)\]\(([^)#]+\.go)\)`)

func TestTestsThatPagesNameExist(t *testing.T) {
	named := 0
	for _, file := range markdown(t) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range witness.FindAllStringSubmatch(string(text), -1) {
			named++
			source, err := os.ReadFile(filepath.Join(root, filepath.Dir(file), m[2]))
			if err != nil || !strings.Contains(string(source), "\nfunc "+m[1]+"(") {
				t.Errorf("%s: there is no %s in %s", file, m[1], m[2])
			}
		}
	}
	if named == 0 {
		t.Error("found no links to tests, though SECURITY.md has many")
	}
}
