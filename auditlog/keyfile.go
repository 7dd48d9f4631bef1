package auditlog

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// The files of [KeyFiles].
const (
	signingKeyFile  = "trail.key" // secret: mode 0600
	verifierKeyFile = "trail.pub" // for everybody who verifies
)

// KeyFiles returns the root key that is kept in a directory, its name and its
// verifier key. At the first call it makes them: the directory with mode 0700,
// trail.key with mode 0600, and trail.pub for whoever verifies. Of several
// processes that do so at once all get the same key. A key that others may read
// is refused.
//
// Take trail.pub to where the trail is verified, and trail.key off the machine
// if it can be replaced by an agent or a KMS: whoever has it can begin streams of
// his own, but not change those that are there.
func KeyFiles(dir, name string) (root crypto.Signer, keyName, verifierKey string, err error) {
	file := filepath.Join(dir, signingKeyFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := makeKeyFiles(dir, name); err != nil {
			return nil, "", "", fmt.Errorf("auditlog: key: %w", err)
		}
	}
	root, keyName, err = readSigningKey(file)
	if err != nil {
		return nil, "", "", err
	}
	if verifierKey, err = VerifierKey(root, keyName); err != nil {
		return nil, "", "", err
	}
	// A crash may have come between the two files.
	public := filepath.Join(dir, verifierKeyFile)
	if _, err := os.Stat(public); errors.Is(err, fs.ErrNotExist) {
		err = createFile(public, verifierKey+"\n", 0o644)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, "", "", fmt.Errorf("auditlog: key: %w", err)
		}
	}
	return root, keyName, verifierKey, nil
}

func makeKeyFiles(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	signing, _, err := GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	err = createFile(filepath.Join(dir, signingKeyFile), signing+"\n", 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster, and its key is as good
	}
	return err
}

// createFile makes a file that was not there, with all of its content or not at
// all.
func createFile(name, content string, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if _, err = f.WriteString(content); err == nil {
		if err = f.Chmod(mode); err == nil {
			err = f.Sync()
		}
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Link(f.Name(), name) // unlike a renaming it replaces nothing
	}
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	return err
}

func readSigningKey(file string) (crypto.Signer, string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, "", fmt.Errorf("auditlog: key: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, "", fmt.Errorf("auditlog: key: others may read %s (mode %#o): chmod 600 it, and make a new one if they did", file, info.Mode().Perm())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("auditlog: key: %w", err)
	}
	root, name, err := ParseSigningKey(string(text))
	if err != nil {
		return nil, "", fmt.Errorf("%w in %s", err, file)
	}
	return root, name, nil
}

// CheckVerifierKey says what is wrong with the text of a verifier key.
func CheckVerifierKey(text string) error {
	if _, err := parseVerifierKey(text); err != nil {
		return fmt.Errorf("auditlog: verifier key %.100q: %w", text, err)
	}
	return nil
}
