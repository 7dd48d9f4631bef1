package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// programs are built once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "scsguard-programs-")
	if err != nil {
		return "", err
	}
	for _, path := range []string{"cmd/scsguard", "examples/server"} {
		cmd := exec.Command("go", "build", "-o", dir+"/", "github.com/scsguard/scsguard/"+path)
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, errors.New(path + ": " + string(out))
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := programs(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// program returns the path of a program of this repository.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	require.NoError(t, err)
	return filepath.Join(dir, name)
}

// scsguardCommand runs the real command.
func scsguardCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(program(t, "scsguard"), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// sealed returns the events of a sealed trail, in order, and the exit code.
func sealed(t *testing.T, trail, anchor string, flags ...string) ([]event, int) {
	t.Helper()
	code, out, errs := scsguardCommand(t, append([]string{"events", trail, "--anchor", anchor}, flags...)...)
	require.Contains(t, []int{0, 2, 3}, code, errs)
	var list []event
	for line := range strings.Lines(out) {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		list = append(list, e)
	}
	return list, code
}

// in replaces what documentation calls the parts of a running server.
func (srv running) in(script string) string {
	return strings.NewReplacer("http://127.0.0.1:4000", srv.url, "data/", filepath.Dir(srv.trail)+"/").Replace(script)
}
