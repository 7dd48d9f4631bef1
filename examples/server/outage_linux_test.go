package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a failing disk does to the real server, in a process of its own.

// diskServer is the example server whose data is on a small file system, in a
// mount namespace that dies with it.
type diskServer struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	data string // as the test sees it
	out  lockedBuffer
}

const smallDisk = 80 << 20 // the log keeps 64 MiB of it back

// onSmallDisk starts the server, or skips the test where nothing can be mounted.
func onSmallDisk(t *testing.T) *diskServer {
	t.Helper()
	if out, err := exec.Command("unshare", "-rm", "true").CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("this test mounts a small disk, for which it needs unshare (util-linux) and user namespaces: %v %s", err, out))
	}
	dir := t.TempDir()
	script := fmt.Sprintf("mount -t tmpfs -o size=%d,mode=0700 tmpfs %s && exec %s -addr 127.0.0.1:0 -trail %s/trail -anchor %s/anchor",
		smallDisk, dir, program(t, "server"), dir, dir)
	s := &diskServer{t: t, cmd: exec.Command("unshare", "-rm", "sh", "-c", script)}
	s.start()
	s.data = fmt.Sprintf("/proc/%d/root%s", s.cmd.Process.Pid, dir)
	return s
}

func (s *diskServer) start() {
	s.t.Helper()
	stderr, err := s.cmd.StderrPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.cmd.Start())
	s.t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for s.url == "" && lines.Scan() {
		s.url = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(lines.Text())
	}
	require.NotEmpty(s.t, s.url)
	go func() { _, _ = io.Copy(&s.out, stderr) }()
	require.Eventually(s.t, func() bool {
		res, err := http.Get(s.url + "/healthz")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}, time.Minute, 20*time.Millisecond)
}

func (s *diskServer) visitor() *visitor { return newVisitor(s.t, s.url, http.DefaultTransport) }

func (s *diskServer) events() ([]event, int) {
	return sealed(s.t, filepath.Join(s.data, "trail"), filepath.Join(s.data, "anchor"), "--key", filepath.Join(s.data, "keys", "trail.pub"))
}

// ended reports whether the logout of a session is in the trail.
func (s *diskServer) ended(session string) bool {
	told, _ := s.events()
	return slices.ContainsFunc(told, func(e event) bool { return e["event"] == "logout" && e["session"] == session })
}

// fill leaves so many bytes free.
func (s *diskServer) fill(left int64) {
	s.t.Helper()
	var fs syscall.Statfs_t
	require.NoError(s.t, syscall.Statfs(s.data, &fs))
	size := int64(fs.Bavail)*fs.Bsize - left
	f, err := os.OpenFile(filepath.Join(s.data, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(s.t, err)
	defer f.Close()
	for chunk := make([]byte, 1<<20); size > 0; size -= int64(len(chunk)) {
		_, err := f.Write(chunk[:min(size, int64(len(chunk)))])
		require.NoError(s.t, err)
	}
}

// recovers demands that everything works again, without a restart.
func (s *diskServer) recovers() {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.visitor().post("/login", "user", "carol", "password", "demo").Code == 200 }, time.Minute, 100*time.Millisecond)
}

// says demands that the operator is told. What the server writes comes here a moment
// later.
func (s *diskServer) says(text string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return strings.Contains(s.out.String(), text) }, time.Minute, 10*time.Millisecond, text)
}

// stop ends the server in order, which writes what it has left.
func (s *diskServer) stop() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
}

func TestPCI10_7_2_AFullDiskRefusesLoginsAndNoLogout(t *testing.T) {
	s := onSmallDisk(t)
	alice, bob := s.visitor(), s.visitor()
	first, second := alice.login("alice"), bob.login("bob")

	// Little is left: that is for those who leave.
	s.fill(10 << 20)
	require.Eventually(t, func() bool { return s.visitor().post("/login", "user", "carol", "password", "demo").Code == 503 }, time.Minute, 100*time.Millisecond)
	requireProblem(t, s.visitor().get("/healthz"), 503, "unavailable")
	require.Equal(t, 200, alice.get("/whoami").Code, "what grants nothing is served")
	requireProblem(t, alice.post("/transfer", "amount", "1", "to", "bob"), 503, "unavailable")
	require.Equal(t, 204, alice.post("/logout").Code)
	require.Eventually(t, func() bool { return s.ended(first) }, time.Minute, 50*time.Millisecond, "it is sealed at once")

	// Nothing is left at all.
	s.fill(0)
	copied := bob.copy()
	require.Equal(t, 204, bob.post("/logout").Code)
	require.Equal(t, 401, copied.get("/whoami").Code)
	requireProblem(t, s.visitor().post("/login", "user", "carol", "password", "demo"), 503, "unavailable")

	require.NoError(t, os.Remove(filepath.Join(s.data, "ballast")))
	s.recovers()
	require.Eventually(t, func() bool { return s.ended(second) }, time.Minute, 50*time.Millisecond, "what waited is written")
	s.gapAndNoTampering()
	s.says("the trail cannot be written")
}

// gapAndNoTampering demands that the trail says what happened to it.
func (s *diskServer) gapAndNoTampering() {
	s.t.Helper()
	told, code := s.events()
	require.Equal(s.t, 3, code, "intact, and not complete: it has a gap")
	require.True(s.t, slices.ContainsFunc(told, func(e event) bool { return e["event"] == "audit.gap" }))
}

func TestADeletedTrailInAReadOnlyDirectoryRefusesLoginsAndNoLogout(t *testing.T) {
	dir := t.TempDir()
	trail := filepath.Join(dir, "data", "trail")
	s := &diskServer{t: t, data: filepath.Join(dir, "data")}
	s.cmd = exec.Command(program(t, "server"), "-addr", "127.0.0.1:0", "-trail", trail, "-anchor", filepath.Join(dir, "anchor"))
	if os.Getuid() == 0 { // who may write everywhere
		for _, path := range []string{program(t, "server"), dir} {
			passable(t, path)
		}
		const nobody = 65534
		require.NoError(t, os.Chown(dir, nobody, nobody))
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	s.start()
	alice := s.visitor()
	session := alice.login("alice")
	removed, err := filepath.Glob(filepath.Join(trail, "*"))
	require.NoError(t, err)
	require.Len(t, removed, 1)

	// Whoever wants to be unseen removes the file that is written and keeps the
	// server from making another.
	require.NoError(t, os.Chmod(trail, 0o500))
	require.NoError(t, os.Remove(filepath.Join(removed[0], "00000000.log")))
	requireProblem(t, s.visitor().post("/login", "user", "bob", "password", "demo"), 503, "unavailable")
	requireProblem(t, s.visitor().get("/healthz"), 503, "unavailable")
	copied := alice.copy()
	require.Equal(t, 204, alice.post("/logout").Code)
	require.Equal(t, 401, copied.get("/whoami").Code)

	require.NoError(t, os.Chmod(trail, 0o700))
	s.recovers()
	require.Equal(t, "warning", s.visitor().get("/healthz").JSON["status"], "it goes on serving, and says that somebody has to look")
	s.says("somebody has to look at the trail")
	var told []event
	require.Eventually(t, func() bool {
		var code int
		told, code = sealed(t, trail, filepath.Join(dir, "anchor"))
		require.Equal(t, 2, code, "a file is missing, and that is seen")
		return slices.ContainsFunc(told, func(e event) bool { return e["event"] == "logout" && e["session"] == session })
	}, time.Minute, 50*time.Millisecond)
	kinds := make(map[any]bool)
	for _, e := range told {
		kinds[e["event"]] = true
	}
	require.True(t, kinds["audit.tamper_suspected"])
	require.True(t, kinds["audit.gap"])
}

// passable lets every user through to a path that the tests have made.
func passable(t *testing.T, path string) {
	t.Helper()
	tmp := filepath.Clean(os.TempDir()) + string(filepath.Separator)
	for ; strings.HasPrefix(path, tmp); path = filepath.Dir(path) {
		require.NoError(t, os.Chmod(path, 0o755))
	}
}

func TestAServerThatCannotWriteItsTrailDoesNotBegin(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere; TestServeRefusesToBeginWithoutATrail has a case for everybody")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o500))
	out, err := exec.Command(program(t, "server"), "-addr", "127.0.0.1:0", "-trail", filepath.Join(dir, "trail")).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), dir)
}

func TestPCI10_2_1_6_AServerThatWasKilledLeavesAnUnclosedStreamAndTheNextSaysSo(t *testing.T) {
	dir := t.TempDir()
	trail, anchor := filepath.Join(dir, "trail"), filepath.Join(dir, "anchor")
	begin := func() *diskServer {
		s := &diskServer{t: t, cmd: exec.Command(program(t, "server"), "-addr", "127.0.0.1:0", "-trail", trail, "-anchor", anchor)}
		s.start()
		return s
	}
	s := begin()
	session := s.visitor().login("alice")
	require.NoError(t, s.cmd.Process.Kill())
	_ = s.cmd.Wait()
	told, code := sealed(t, trail, anchor)
	require.Equal(t, 3, code, "intact, without an orderly end")
	require.Equal(t, session, told[0]["session"], "what was acknowledged is there")

	s = begin()
	s.stop()
	require.NoError(t, s.cmd.Wait())
	told, code = sealed(t, trail, anchor)
	require.True(t, slices.ContainsFunc(told, func(e event) bool { return e["event"] == "audit.recovered" }))
	require.NotEqual(t, 2, code)
}
