package scsguard_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the README shows is compiled: each line of its Go code stands, in this
// order, in the examples.
func TestTheReadmesCodeIsCompiled(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var examples string
	for _, file := range []string{"example_test.go", "guardtest/example_test.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		examples += string(text)
	}
	blocks := strings.Split(string(readme), "```go\n")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		block, _, closed := strings.Cut(block, "\n```")
		require.True(t, closed)
		rest := examples
		for line := range strings.SplitSeq(block, "\n") {
			line = strings.TrimSpace(line)
			if line == "" || line == "..." {
				continue
			}
			_, after, found := strings.Cut(rest, line)
			require.True(t, found, "this line of the README is not in the examples, or in another order: %s", line)
			rest = after
		}
	}
}
