package auditlog_test

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

func TestTheKeysAreMadeOnceAndTheirOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var wg sync.WaitGroup
	keys := make([]string, 20)
	for i := range keys {
		wg.Go(func() {
			_, name, key, err := auditlog.KeyFiles(dir, "bank")
			if err != nil || name != "bank" {
				t.Error(name, err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	for _, key := range keys {
		require.Equal(t, keys[0], key)
	}
	public, err := os.ReadFile(filepath.Join(dir, "trail.pub"))
	require.NoError(t, err)
	require.Equal(t, keys[0]+"\n", string(public))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing else is left there")

	root, name, key, err := auditlog.KeyFiles(dir, "another name")
	require.NoError(t, err, "the name is that of the key which is there")
	require.Equal(t, "bank", name)
	require.Equal(t, keys[0], key)
	require.NotNil(t, root)

	require.NoError(t, os.Remove(filepath.Join(dir, "trail.pub")))
	_, _, _, err = auditlog.KeyFiles(dir, "bank")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "trail.pub"), "made again, after a crash between the two")

	_, _, _, err = auditlog.KeyFiles(filepath.Join(t.TempDir(), "keys"), "no good")
	require.Error(t, err)
}

func TestPCI10_3_1_AKeyThatOthersMayReadIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing there")
	}
	dir := filepath.Join(t.TempDir(), "keys")
	_, _, _, err := auditlog.KeyFiles(dir, "bank")
	require.NoError(t, err)
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "trail.key"): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	file := filepath.Join(dir, "trail.key")
	require.NoError(t, os.Chmod(file, 0o640))
	_, _, _, err = auditlog.KeyFiles(dir, "bank")
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(file, 0o600))
	require.NoError(t, os.WriteFile(file, []byte("PRIVATE+KEY+torn"), 0o600))
	_, _, _, err = auditlog.KeyFiles(dir, "bank")
	require.ErrorContains(t, err, file)
}
