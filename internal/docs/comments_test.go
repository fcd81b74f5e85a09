package docs

import (
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// A documented is an exported name with its comment.
type documented struct {
	name string
	text string
	pos  token.Pos
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, m := range modules {
		t.Run(m.folder, func(t *testing.T) {
			for _, p := range load(t, m) {
				for _, d := range p.documented() {
					if !beginsWith(d.text, d.name) {
						t.Errorf("%s: the comment of %s begins with %.40q, not with the name", p.place(d.pos), d.name, d.text)
					}
				}
				if text := p.synopsis(); !strings.HasPrefix(text, "Package "+p.name+" ") {
					t.Errorf("package %s: its comment begins with %.40q, not with Package %s", p.path, text, p.name)
				}
			}
		})
	}
}

// beginsWith reports whether a comment begins with a name, or with an article and the name, as
// the standard library's comments on types often do.
func beginsWith(text, name string) bool {
	_, method, ok := strings.Cut(name, ".")
	if ok {
		name = method
	}
	for _, article := range []string{"", "A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(text, article+name); ok && strings.IndexAny(rest, " ,\n") == 0 {
			return true
		}
	}
	return false
}

func TestTheRuleForCommentsRefuses(t *testing.T) {
	for _, text := range []string{"", "Adds a thing.", "Added is a thing.", "Add", "This is Add."} {
		if beginsWith(text, "Pool.Add") {
			t.Errorf("%q passes as the comment of Add", text)
		}
	}
}

// Each link in a comment shown on pkg.go.dev leads somewhere, and no text in brackets looks
// like a link without being one.
func TestEveryLinkInACommentResolves(t *testing.T) {
	for _, m := range modules {
		t.Run(m.folder, func(t *testing.T) {
			links := 0
			for _, p := range load(t, m) {
				for _, c := range p.comments() {
					for _, link := range linksOf(c.text) {
						links++
						if why := p.unresolved(link); why != "" {
							t.Errorf("%s: %s", p.place(c.pos), why)
						}
					}
				}
			}
			if links == 0 {
				t.Error("found no links")
			}
		})
	}
}

func TestLinksThatLeadNowhereAreFound(t *testing.T) {
	p := load(t, modules[0])[0]
	for link, ok := range map[string]bool{
		"[Pool]": true, "[*Pool]": true, "[Pool.Shutdown]": true, "[ErrClosed]": true, "[WithOutbox]": true,
		"[errors.Is]": true, "[net/http.Server.Shutdown]": true, "[websocket.Conn.PayloadType]": true,
		"[Cluster.Forward]": true, "[Stats.Waiting]": true, "[os.File]": true,
		"[Pol]": false, "[Pool.Stop]": false, "[Stats.Waste]": false, "[errors.Isnt]": false,
		"[nowhere.Name]": false, "[websocket.Conn.Nothing]": false, "[pool.Add]": false,
	} {
		found := linksOf("See " + link + ".")
		if len(found) != 1 {
			t.Errorf("%s: found %d links", link, len(found))
		} else if why := p.unresolved(found[0]); (why == "") != ok {
			t.Errorf("%s: %q", link, why)
		}
	}
}

// linksOf returns everything written as a link, whether or not the name exists.
func linksOf(text string) []*comment.DocLink {
	all := &comment.Parser{
		LookupSym:     func(recv, name string) bool { return true },
		LookupPackage: func(name string) (string, bool) { return name, true },
	}
	var links []*comment.DocLink
	walk := func(texts []comment.Text) {
		for _, text := range texts {
			if link, ok := text.(*comment.DocLink); ok {
				links = append(links, link)
			}
		}
	}
	var blocks func([]comment.Block)
	blocks = func(content []comment.Block) {
		for _, b := range content {
			switch b := b.(type) {
			case *comment.Paragraph:
				walk(b.Text)
			case *comment.Heading:
				walk(b.Text)
			case *comment.List:
				for _, item := range b.Items {
					blocks(item.Content)
				}
			}
		}
	}
	blocks(all.Parse(text).Content)
	return links
}

// unresolved says why a link leads nowhere, or returns "" if it resolves.
func (l *loaded) unresolved(link *comment.DocLink) string {
	shown := (&comment.Printer{}).Comment(&comment.Doc{Content: []comment.Block{&comment.Paragraph{Text: []comment.Text{link}}}})
	name := strings.TrimSpace(string(shown))
	p := l.types
	if link.ImportPath != "" {
		path := l.imported(link.ImportPath)
		if path == "" {
			return name + ": no such import or package of the standard library"
		}
		p = l.importPackage(path)
		if p == nil {
			return name + ": cannot load " + path
		}
	} else if !l.doc().Parser().LookupSym(link.Recv, link.Name) {
		return name + ": not an exported name of this package, or one that go/doc does not link"
	}
	if link.Name == "" {
		return ""
	}
	if link.Recv == "" {
		if obj := p.Scope().Lookup(link.Name); obj == nil || !obj.Exported() {
			return name + ": " + p.Path() + " exports no " + link.Name
		}
		return ""
	}
	obj, ok := p.Scope().Lookup(link.Recv).(*types.TypeName)
	if !ok {
		return name + ": " + p.Path() + " has no type " + link.Recv
	}
	if member, _, _ := types.LookupFieldOrMethod(obj.Type(), true, p, link.Name); member == nil || !member.Exported() {
		return name + ": " + link.Recv + " has no " + link.Name
	}
	return ""
}

// imported returns the path of a package that a link names, looked up in this package's imports
// and in the standard library; "" if there is none.
func (l *loaded) imported(name string) string {
	for _, p := range l.types.Imports() {
		if p.Name() == name || p.Path() == name {
			return p.Path()
		}
	}
	if path, ok := comment.DefaultLookupPackage(name); ok {
		return path
	}
	if strings.Contains(name, "/") && !strings.Contains(name, ".") { // a path of the standard library
		return name
	}
	return ""
}

// importPackage loads a package, or returns nil if it cannot.
func (l *loaded) importPackage(path string) *types.Package {
	if f, err := open(path); err == nil {
		f.Close()
	} else {
		list, err := goList(".", "-deps", path)
		if err != nil {
			return nil
		}
		remember(list)
	}
	p, err := newImporter(l.fset).Import(path)
	if err != nil {
		return nil
	}
	return p
}

// doc returns the package as go doc and pkg.go.dev see it.
func (l *loaded) doc() *doc.Package {
	p, err := doc.NewFromFiles(l.fset, l.files, l.path, doc.PreserveAST)
	if err != nil {
		panic(err) // the files have already compiled
	}
	return p
}

func (l *loaded) synopsis() string { return l.doc().Doc }

// comments returns every comment that is shown: those of the package, names, groups and fields.
func (l *loaded) comments() []documented {
	all := []documented{{l.name, l.synopsis(), l.files[0].Package}}
	for _, f := range l.files {
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && !fn.Name.IsExported() {
				continue
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				if group, ok := n.(*ast.CommentGroup); ok {
					all = append(all, documented{text: group.Text(), pos: group.Pos()})
				}
				_, code := n.(*ast.BlockStmt)
				return !code
			})
		}
	}
	return all
}

// documented returns the exported names with their comments: functions, methods of exported
// types, types, methods of interfaces, constants and variables.
func (l *loaded) documented() []documented {
	var all []documented
	for _, f := range l.files {
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if name, ok := exportedFunc(decl); ok {
					all = append(all, documented{name, decl.Doc.Text(), decl.Pos()})
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					all = append(all, documentedSpec(decl, spec)...)
				}
			}
		}
	}
	return slices.DeleteFunc(all, func(d documented) bool {
		_, last, _ := strings.Cut("."+d.name, ".")
		return !ast.IsExported(last)
	})
}

// exportedFunc returns the name of a function, or Type.Method.
func exportedFunc(fn *ast.FuncDecl) (name string, exported bool) {
	if fn.Recv == nil {
		return fn.Name.Name, fn.Name.IsExported()
	}
	receiver := fn.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if index, ok := receiver.(*ast.IndexExpr); ok {
		receiver = index.X
	}
	owner, ok := receiver.(*ast.Ident)
	if !ok {
		return "", false
	}
	return owner.Name + "." + fn.Name.Name, owner.IsExported() && fn.Name.IsExported()
}

// documentedSpec returns the names of one constant, variable or type. In a group of one, the
// comment is above the group.
func documentedSpec(decl *ast.GenDecl, spec ast.Spec) []documented {
	var all []documented
	text := ""
	if !decl.Lparen.IsValid() {
		text = decl.Doc.Text()
	}
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			all = append(all, documented{name.Name, text + spec.Doc.Text(), name.Pos()})
		}
	case *ast.TypeSpec:
		all = append(all, documented{spec.Name.Name, text + spec.Doc.Text(), spec.Pos()})
		if i, ok := spec.Type.(*ast.InterfaceType); ok && spec.Name.IsExported() {
			for _, method := range i.Methods.List {
				for _, name := range method.Names {
					all = append(all, documented{spec.Name.Name + "." + name.Name, method.Doc.Text(), name.Pos()})
				}
			}
		}
	}
	return all
}
