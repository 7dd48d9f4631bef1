package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/scsguard/scsguard/auditlog"
)

// written is a trail that the example server wrote, in two runs.
type written struct {
	dir, trail, anchor, key string
	older                   string // a copy of the trail in the middle of the second run
	command                 string // the real command
}

// serverRan runs the example server once for all tests.
var serverRan = sync.OnceValues(func() (*written, error) {
	dir, err := os.MkdirTemp("", "scsguard-written-")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	w := &written{dir: dir, trail: filepath.Join(data, "trail"), anchor: filepath.Join(data, "anchor"),
		key: filepath.Join(data, "keys", "trail.pub"), older: filepath.Join(dir, "older"), command: filepath.Join(dir, "scsguard")}
	for _, path := range []string{"cmd/scsguard", "examples/server"} {
		if out, err := exec.Command("go", "build", "-o", dir+"/", "github.com/scsguard/scsguard/"+path).CombinedOutput(); err != nil {
			return w, fmt.Errorf("%s: %s", path, out)
		}
	}
	visits := [][]string{{"/login", "user=alice&password=demo"}, {"/transfer", "amount=12.50&to=bob"}, {"/logout", ""}, {"/login", "user=eve&password=x"}}
	if err := w.serve(func(post func(string, string) error) error { return visitAll(visits, post) }); err != nil {
		return w, err
	}
	return w, w.serve(func(post func(string, string) error) error {
		if err := visitAll(visits, post); err != nil {
			return err
		}
		if err := os.CopyFS(w.older, os.DirFS(w.trail)); err != nil {
			return err
		}
		return visitAll(visits, post)
	})
})

func visitAll(visits [][]string, post func(string, string) error) error {
	for _, v := range visits {
		if err := post(v[0], v[1]); err != nil {
			return err
		}
	}
	return nil
}

// serve starts the server, visits it and stops it in order.
func (w *written) serve(visit func(post func(path, form string) error) error) error {
	cmd := exec.Command(filepath.Join(w.dir, "server"), "-addr", "127.0.0.1:0", "-trail", w.trail, "-anchor", w.anchor)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(stderr)
	base := ""
	for base == "" && lines.Scan() {
		base = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	post := func(path, form string) error {
		values, err := url.ParseQuery(form)
		if err != nil {
			return err
		}
		res, err := client.PostForm(base+path, values)
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	if err := visit(post); err != nil {
		return err
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

func theTrail(t *testing.T) *written {
	t.Helper()
	w, err := serverRan()
	require.NoError(t, err)
	return w
}

func TestMain(m *testing.M) {
	code := m.Run()
	if w, _ := serverRan(); w != nil {
		_ = os.RemoveAll(w.dir)
	}
	os.Exit(code)
}

// forgeries are what somebody makes of the stream who changes an event and
// computes everything anew that he can compute.
func forgeries(t *testing.T, b *bench) map[string][]byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	own, err := note.NewEd25519VerifierKey(b.stream(), public)
	require.NoError(t, err)
	rootSecret, rootPublic, err := note.GenerateKey(rand.Reader, "bank")
	require.NoError(t, err)
	require.NotEmpty(t, rootPublic)
	changed := bytes.ReplaceAll(b.bytes, []byte(`"amount":"12.50"`), []byte(`"amount":"92.50"`))
	require.NotEqual(t, b.bytes, changed)

	certificate := regexp.MustCompile(`"cert":"([^"]*)"`)
	unescape := strings.NewReplacer(`\n`, "\n")
	old := unescape.Replace(string(certificate.FindSubmatch(b.bytes)[1]))
	oldKey := strings.Split(old, "\n")[2]
	sign := func(text string) string {
		signer, err := note.NewSigner(rootSecret)
		require.NoError(t, err)
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		require.NoError(t, err)
		return string(signed)
	}
	withCert := func(cert string) []byte {
		return bytes.ReplaceAll(changed, certificate.Find(changed), []byte(`"cert":"`+strings.ReplaceAll(cert, "\n", `\n`)+`"`))
	}
	text, _, _ := strings.Cut(old, "\n\n")
	replaced := strings.Replace(old, oldKey, own, 1)

	whole := newPlace(t) // a log of his own, in all order, of the same name
	log := whole.open(func(c *auditlog.Config) { c.Origin = strings.Split(b.stream(), "/")[0] })
	write(t, log, "login")
	require.NoError(t, log.Close())
	forged, err := os.ReadFile(whole.segment())
	require.NoError(t, err)
	forged = bytes.ReplaceAll(forged, []byte(log.Stream()), []byte(b.stream()))

	return map[string][]byte{
		"the old signatures, and new links":                       rechain(t, changed, nil, ""),
		"signatures of a key that no certificate names":           rechain(t, changed, private, b.stream()),
		"his key put into the certificate of the root":            rechain(t, withCert(replaced), private, b.stream()),
		"his key certified by a root of the same name":            rechain(t, withCert(sign(strings.Replace(text, oldKey, own, 1)+"\n")), private, b.stream()),
		"the key of the stream certified by a root of his":        rechain(t, withCert(sign(text+"\n")), nil, ""),
		"nothing changed but the signatures, by a key of his own": rechain(t, b.bytes, private, b.stream()),
		"a log of his own": forged,
	}
}

var (
	prevField  = regexp.MustCompile(`"prev":"[^"]*"`)
	cpText     = regexp.MustCompile(`^\{"cp":"(.*?)\\n(\d+)\\n(.*?)\\n\\n— (.*?) (.*?)\\n"\}$`)
	errNoMatch = errors.New("no checkpoint")
)

// rechain computes links and roots anew, and signs with a key if there is one.
func rechain(t *testing.T, segment []byte, key ed25519.PrivateKey, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	var hashes []tlog.Hash
	prev := tlog.Hash{}
	size := int64(0)
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			list[i] = hashes[at]
		}
		return list, nil
	})
	for line := range bytes.Lines(segment) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if !isCheckpoint(line) {
			line = prevField.ReplaceAll(line, []byte(`"prev":"`+prev.String()+`"`))
			more, err := tlog.StoredHashes(size, line, reader)
			require.NoError(t, err)
			hashes = append(hashes, more...)
			size++
		} else {
			m := cpText.FindSubmatch(line)
			require.NotNil(t, m, errNoMatch)
			root, err := tlog.TreeHash(size, reader)
			require.NoError(t, err)
			signature := string(m[5])
			if key != nil {
				text := fmt.Sprintf("%s\n%d\n%s\n", m[1], size, root)
				verifier, err := note.NewEd25519VerifierKey(name, key.Public().(ed25519.PublicKey))
				require.NoError(t, err)
				v, err := note.NewVerifier(verifier)
				require.NoError(t, err)
				id := v.KeyHash()
				signature = base64.StdEncoding.EncodeToString(append([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, ed25519.Sign(key, []byte(text))...))
			}
			line = fmt.Appendf(nil, `{"cp":"%s\n%d\n%s\n\n— %s %s\n"}`, m[1], size, root, m[4], signature)
		}
		prev = tlog.RecordHash(line)
		out.Write(line)
		out.WriteByte('\n')
	}
	return out.Bytes()
}
