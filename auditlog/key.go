package auditlog

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// certHead is the first line of a certificate.
const certHead = "scsguard auditlog stream v1"

// GenerateKey makes a root key. Both results are one line of text: the signing
// key is for [ParseSigningKey] and must be kept secret, the verifier key is for
// everybody who verifies. The name is part of both and must have neither spaces
// nor plus signs.
func GenerateKey(random io.Reader, name string) (signingKey, verifierKey string, err error) {
	if !validName(name) {
		return "", "", fmt.Errorf("auditlog: key name %q: %s", name, nameRule)
	}
	return note.GenerateKey(random, name)
}

// ParseSigningKey returns what [GenerateKey] made, for Config.Root and
// Config.RootName.
func ParseSigningKey(signingKey string) (root crypto.Signer, name string, err error) {
	signingKey = strings.TrimSpace(signingKey)
	if _, err := note.NewSigner(signingKey); err != nil {
		return nil, "", errors.New("auditlog: this is not a signing key (PRIVATE+KEY+name+...)")
	}
	parts := strings.SplitN(signingKey, "+", 5)
	seed, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, "", errors.New("auditlog: this is not an Ed25519 signing key")
	}
	return ed25519.NewKeyFromSeed(seed[1:]), parts[2], nil
}

// VerifierKey returns the text of the verifier key that belongs to a root key.
func VerifierKey(root crypto.Signer, name string) (string, error) {
	pub, ok := root.Public().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("auditlog: the root key is a %T; only Ed25519 is supported", root.Public())
	}
	if !validName(name) {
		return "", fmt.Errorf("auditlog: key name %q: %s", name, nameRule)
	}
	return note.NewEd25519VerifierKey(name, pub)
}

const nameRule = "it may have letters, digits and . _ - / only, at most 200"

// validName keeps names to what needs no escaping, neither in JSON nor in a
// note nor in a terminal.
func validName(s string) bool {
	if s == "" || len(s) > 200 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-/", rune(c)) {
			return false
		}
	}
	return true
}

// streamKey signs the checkpoints of one stream. It lives in memory only and
// dies with the process.
type streamKey struct {
	private ed25519.PrivateKey
	public  publicKey
}

// publicKey verifies the checkpoints of one stream.
type publicKey struct {
	name string
	id   [4]byte
	key  ed25519.PublicKey
}

func newStreamKey(stream string) (*streamKey, error) {
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return &streamKey{private, newPublicKey(stream, pub)}, nil
}

func newPublicKey(name string, key ed25519.PublicKey) publicKey {
	p := publicKey{name: name, key: key}
	h := sha256.New()
	h.Write([]byte(name + "\n\x01"))
	h.Write(key)
	copy(p.id[:], h.Sum(nil))
	return p
}

// sign returns the key ID and the signature.
func (k *streamKey) sign(text []byte) (sig [4 + ed25519.SignatureSize]byte) {
	copy(sig[:], k.public.id[:])
	copy(sig[4:], ed25519.Sign(k.private, text))
	return sig
}

// verifies reports whether sig, with its key ID, is this key's signature.
func (p *publicKey) verifies(text, sig []byte) bool {
	return string(sig[:4]) == string(p.id[:]) && ed25519.Verify(p.key, text, sig[4:])
}

func (p *publicKey) String() string {
	return fmt.Sprintf("%s+%08x+%s", p.name, binary.BigEndian.Uint32(p.id[:]),
		base64.StdEncoding.EncodeToString(append([]byte{1}, p.key...)))
}

// parseVerifierKey is strict: it takes only the text that String writes.
func parseVerifierKey(text string) (publicKey, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 || !validName(parts[0]) {
		return publicKey{}, errors.New("this is not a verifier key (name+id+key)")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 1 {
		return publicKey{}, errors.New("this is not an Ed25519 verifier key")
	}
	p := newPublicKey(parts[0], key[1:])
	if p.String() != text {
		return publicKey{}, errors.New("the verifier key is damaged: its ID does not fit")
	}
	return p, nil
}

// certify has the root key sign that key belongs to a stream. The result is a
// signed note.
func certify(root crypto.Signer, rootName string, key *publicKey) (string, error) {
	pub, ok := root.Public().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("the root key is a %T; only Ed25519 is supported", root.Public())
	}
	text := certHead + "\n" + key.name + "\n" + key.String() + "\n"
	sig, err := root.Sign(rand.Reader, []byte(text), crypto.Hash(0))
	if err != nil {
		return "", fmt.Errorf("the root key does not sign: %w", err)
	}
	if !ed25519.Verify(pub, []byte(text), sig) {
		return "", errors.New("the root key made a signature that does not fit its public key")
	}
	rootKey := newPublicKey(rootName, pub)
	return text + "\n— " + rootName + " " + base64.StdEncoding.EncodeToString(append(rootKey.id[:], sig...)) + "\n", nil
}

// checkCert returns the stream's key that one of the root keys has certified.
func checkCert(cert string, roots []publicKey) (publicKey, error) {
	var zero publicKey
	text, sigLine, ok := strings.Cut(cert, "\n\n— ")
	if !ok {
		return zero, errors.New("the certificate is malformed")
	}
	text += "\n"
	lines := strings.Split(text, "\n")
	name, encoded, ok := strings.Cut(strings.TrimSuffix(sigLine, "\n"), " ")
	if !ok || len(lines) != 4 || lines[0] != certHead || !strings.HasSuffix(sigLine, "\n") {
		return zero, errors.New("the certificate is malformed")
	}
	sig, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(sig) != 4+ed25519.SignatureSize || base64.StdEncoding.EncodeToString(sig) != encoded {
		return zero, errors.New("the certificate's signature is malformed")
	}
	if !slices.ContainsFunc(roots, func(r publicKey) bool { return r.name == name && r.verifies([]byte(text), sig) }) {
		return zero, fmt.Errorf("the certificate is signed by %.60q, not by the root key", name)
	}
	key, err := parseVerifierKey(lines[2])
	if err != nil || key.name != lines[1] {
		return zero, errors.New("the certificate is malformed")
	}
	return key, nil
}
