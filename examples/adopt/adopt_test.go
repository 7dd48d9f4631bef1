package adopt

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/stretchr/testify/require"
)

const adoptingFile = "../../docs/adopting.md"

// patterns returns the folders of the applications.
func patterns(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	var list []string
	for _, e := range entries {
		if e.IsDir() {
			list = append(list, e.Name())
		}
	}
	require.NotEmpty(t, list)
	return list
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(text)
}

func TestTheTestsOfAnApplicationStayAsTheyAre(t *testing.T) {
	for _, p := range patterns(t) {
		require.Equal(t, read(t, p, "before", "app_test.go"), read(t, p, "after", "app_test.go"), p)
	}
}

func TestAnApplicationWasWrittenWithoutTheGuard(t *testing.T) {
	for _, p := range patterns(t) {
		for version, guarded := range map[string]bool{"before": false, "after": true} {
			require.Equal(t, guarded, imports(t, p, version, "main.go"), "%s/%s", p, version)
			require.False(t, imports(t, p, version, "app_test.go"), "the tests of %s know of no guard", p)
		}
	}
}

// imports reports whether a file imports the guard.
func imports(t *testing.T, path ...string) bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", read(t, path...), parser.ImportsOnly)
	require.NoError(t, err)
	return slices.ContainsFunc(file.Imports, func(imp *ast.ImportSpec) bool { return strings.HasPrefix(imp.Path.Value, `"github.com/scsguard/`) })
}

// TestTheDifferencesInTheDocs compares the diffs in docs/adopting.md with those of
// the applications. With ADOPTING=write it writes them into that file, between the
// lines that begin with "<!-- diff" and "<!-- end".
func TestTheDifferencesInTheDocs(t *testing.T) {
	doc := read(t, adoptingFile)
	var out strings.Builder
	shown := make(map[string]bool)
	for rest := doc; ; {
		head, tail, found := strings.Cut(rest, "<!-- diff ")
		out.WriteString(head)
		if !found {
			break
		}
		p, tail, found := strings.Cut(tail, " -->")
		require.True(t, found, "a comment is not closed")
		_, tail, found = strings.Cut(tail, "<!-- end -->")
		require.True(t, found, "the diff of %s has no end", p)
		fmt.Fprintf(&out, "<!-- diff %s -->\n%s<!-- end -->", p, difference(t, p))
		shown[p], rest = true, tail
	}
	if os.Getenv("ADOPTING") == "write" {
		require.NoError(t, os.WriteFile(adoptingFile, []byte(out.String()), 0o644))
		doc = out.String()
	}
	require.Equal(t, out.String(), doc, "run make adopting")
	for _, p := range patterns(t) {
		require.True(t, shown[p], "docs/adopting.md does not show %s", p)
	}
}

// What docs/adopting.md tells to write is compiled: each block stands, line by line
// and in this order, in a file of an application.
func TestTheCodeInTheDocsIsThatOfAnApplication(t *testing.T) {
	files, err := filepath.Glob("*/after/*.go")
	require.NoError(t, err)
	blocks := strings.Split(read(t, adoptingFile), "```go\n")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		block, _, closed := strings.Cut(block, "```")
		require.True(t, closed)
		require.True(t, slices.ContainsFunc(files, func(file string) bool { return stands(block, read(t, file)) }), "no application has this:\n%s", block)
	}
}

// stands reports whether all lines of a block are in a text, in their order.
func stands(block, text string) bool {
	for line := range strings.Lines(block) {
		_, after, found := strings.Cut(text, strings.TrimSpace(line))
		if !found {
			return false
		}
		text = after
	}
	return true
}

// difference returns the unified diffs of the program's files, without its tests.
func difference(t *testing.T, pattern string) string {
	t.Helper()
	files := make(map[string]bool)
	for _, version := range []string{"before", "after"} {
		found, err := filepath.Glob(filepath.Join(pattern, version, "*.go"))
		require.NoError(t, err)
		for _, path := range found {
			if name := filepath.Base(path); !strings.HasSuffix(name, "_test.go") {
				files[name] = true
			}
		}
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		before, err := os.ReadFile(filepath.Join(pattern, "before", name))
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		d := diff.Diff("before/"+name, before, "after/"+name, []byte(read(t, pattern, "after", name)))
		_, body, _ := strings.Cut(string(d), "\n") // its first line is a command nobody can run
		out.WriteString(body)
	}
	return "\n```diff\n" + out.String() + "```\n\n"
}
