package scsguard_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever imports the root package compiles these and the standard library.
var rootMayImport = map[string]string{
	"github.com/alexedwards/scs/v2":          "the library it guards",
	"github.com/alexedwards/scs/v2/memstore": "the store whose sessions a registry in memory may hold",
	"github.com/rs/zerolog":                  "Mirror and MarshalZerologObject",
}

// What zerolog brings along.
var zerologImports = []string{"github.com/rs/zerolog/", "github.com/mattn/go-colorable", "github.com/mattn/go-isatty", "golang.org/x/sys/"}

func TestTheRootPackageCompilesLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	found := make(map[string]bool)
	for _, path := range strings.Fields(string(out)) {
		if path == "github.com/scsguard/scsguard" {
			continue
		}
		found[path] = true
		allowed := rootMayImport[path] != ""
		for _, prefix := range zerologImports {
			allowed = allowed || strings.HasPrefix(path, prefix)
		}
		require.True(t, allowed, "%s is compiled into every program that imports the root package; put what needs it into a package of its own", path)
	}
	for path, why := range rootMayImport {
		require.True(t, found[path], "%s (%s) is imported no more; take it off the list", path, why)
	}
}

// Packages whose purpose is to be called from tests.
var mayImportTesting = map[string]bool{"registrytest": true, "storetest": true, "sinktest": true, "guardtest": true, "remembertest": true, "internal/redistest": true}

func TestTheSourceKeepsToTheRules(t *testing.T) {
	comments := make(map[string]string) // package directory: file with its comment
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			if d != nil && d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return err
		}
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments)
		require.NoError(t, err)
		dir := filepath.ToSlash(filepath.Dir(path))
		if strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, imp := range file.Imports {
			if imp.Path.Value == `"testing"` {
				require.True(t, mayImportTesting[dir], "%s imports testing, which would register its flags in every program", path)
			}
		}
		if file.Doc != nil {
			require.Empty(t, comments[dir], "%s: one package comment is enough", path)
			comments[dir] = path
		}
		if _, ok := comments[dir]; !ok {
			comments[dir] = ""
		}
		require.NotContains(t, string(src), "func init()", "%s: what happens at import cannot be configured", path)
		require.LessOrEqual(t, strings.Count(string(src), "\n"), 450, "%s: one idea a file", path)
		return nil
	}))
	for dir, file := range comments {
		require.NotEmpty(t, file, "package in %s has no comment", dir)
	}
}
