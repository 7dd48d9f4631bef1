package main

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/scsguard/scsguard/auditlog"
	"github.com/scsguard/scsguard/investigate"
)

//go:embed bundle.md
var bundleReadme string

var bundleTemplate = template.Must(template.New("README").Funcs(template.FuncMap{"safe": markdownText, "code": codeText}).Parse(bundleReadme))

// readme explains the folder to whoever gets it.
func (b *bundler) readme(trail *investigate.Trail, asked []ask, refs, proofs int, state investigate.Answer) error {
	type verdict struct{ Trail, From, Integrity, Completeness string }
	data := struct {
		*bundler
		Case, By         string
		Verdicts         []verdict
		Heads            []string
		Asked            []ask
		Refs, Proofs     int
		Anchored, Intact bool
		Queries          bool
		Exit             int
	}{bundler: b, Case: b.name, By: whoAsks(), Asked: asked, Refs: refs, Proofs: proofs,
		Anchored: b.anchorFlags() != "", Intact: trail.Intact(), Exit: state.ExitCode()}
	for i, rep := range trail.Reports {
		f := &finding{rep}
		data.Verdicts = append(data.Verdicts, verdict{b.copied[i].Trail, b.copied[i].From, f.integrity(), f.completeness()})
		for j := range rep.Streams {
			if st := &rep.Streams[j]; st.Size > 0 && st.Damage == nil {
				data.Heads = append(data.Heads, auditlog.Head{Stream: st.Name, Size: st.Size, Root: st.Root}.String())
			}
		}
	}
	_, err := os.Stat(filepath.Join(b.dir, "queries"))
	data.Queries = err == nil
	var text strings.Builder
	if err := bundleTemplate.Execute(&text, data); err != nil {
		return err
	}
	return b.write("README.md", text.String())
}

// markdownText keeps what others have written from becoming markup.
func markdownText(s string) string {
	return strings.NewReplacer("\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "<", "&lt;", "&", "&amp;", "|", "\\|").Replace(escaped(s))
}

// codeText is a line in a block of code, which it cannot end.
func codeText(s string) string { return strings.ReplaceAll(escaped(s), "```", "` ` `") }
