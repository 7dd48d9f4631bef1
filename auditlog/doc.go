// Package auditlog keeps records so that nobody can change them unseen.
//
// It knows lines, not what they say: a record is any JSON object in one line.
// Each record is linked to the one before it and is a leaf of a Merkle tree (RFC
// 6962); each write ends with a checkpoint (C2SP tlog-checkpoint), signed with a
// key that exists only in the memory of the process that writes, and is durable,
// with one fsync, before [Log.Append] returns. Callers at the same time share
// the write, the signature and the fsync.
//
//	root, name, err := auditlog.ParseSigningKey(text) // made once by GenerateKey
//	log, err := auditlog.Open(auditlog.Config{Dir: "audit", Root: root, RootName: name,
//		Anchors: []auditlog.Anchor{auditlog.FileAnchor("/mnt/elsewhere/audit")}})
//	err = log.Append(ctx, [][]byte{[]byte(`{"event":"login"}`)})
//
//	report, err := auditlog.Verify(ctx, "audit", auditlog.VerifyOptions{Keys: []string{vkey}, Anchors: ...})
//
// A [Log] is a sink of package scsguard.
//
// What this protects from, and what nothing protects from, is in
// docs/threat-model.md. In short: whoever has no key can change nothing unseen,
// except for cutting off the end; an [Anchor] shows that too, up to the last
// record it was told of.
//
// The rest of this page is the format, exact enough to write another verifier
// from it. testdata/verify.py is one.
//
// # Words
//
// Numbers are decimal, without leading zeros. Base64 is that of RFC 4648 section
// 4, with padding and with unused bits zero; other spellings are errors. A time is
// UTC with exactly six decimals: 2026-11-21T09:30:00.000000Z. H(x) is the SHA-256
// of a zero byte followed by x: the leaf hash of RFC 6962. A name (of a stream or
// a key) has ASCII letters, digits and the characters . _ - / only, 1 to 200 of
// them, and more for a stream.
//
// # Files
//
// A log is a directory. Each process that writes makes a stream, for itself, at
// each start, and one more after each failure to write: a sub-directory named by
// 26 characters (a ULID, so that names sort by time). The name of the stream is an
// origin, a slash, and the name of its directory. In it are
//
//	lock            locked (flock, LockFileEx) as long as the stream is written
//	00000000.log    the segments, numbered from 0 without a gap
//	00000001.log
//	00000000.leaves what is left of a segment that retention has removed
//	00000000.hold   retention must keep this segment
//
// Other files mean nothing. The segments of a stream, one after the other, are
// its lines. Each line ends with a line feed, which is not part of what is hashed,
// and is at most 1,052,672 bytes long.
//
// # Lines
//
// A line is a record or a checkpoint. There are no spaces but those shown, and no
// other order. A record:
//
//	{"v":1,"stream":"NAME","seq":N,"time":"TIME","prev":"HASH","event":OBJECT}
//
// NAME is the stream. N counts the records of the stream from 0. TIME is when it
// was sealed; order is by N, never by time. HASH is H of the line before, record or
// checkpoint, in base64; in the first line of a stream it is 32 zero bytes. OBJECT
// is what the caller gave, byte by byte: a JSON object, perhaps with blanks around it. Records in which "event": is "audit": are
// the log's own, and nobody else can write those.
//
// A checkpoint is a C2SP signed note with its line feeds written as \n:
//
//	{"cp":"NAME\nSIZE\nROOT\n\n— NAME SIGNATURE\n"}
//
// SIZE is the number of records before it in the stream, at least one more than
// in the checkpoint before. ROOT is the root of the Merkle tree (RFC 6962 section
// 2.1) whose leaves are these records, H of each line in order, in base64. The
// signature is over the first three lines of the note, each with its line feed:
// "NAME\nSIZE\nROOT\n". SIGNATURE is the base64 of a four byte key ID and an Ed25519
// signature. The key ID is the beginning of the SHA-256 of the key's name, a line
// feed, a byte 0x01 and the public key.
//
// Since each record has the hash of the line before it, and each checkpoint the
// root over all records, the last signature of a stream covers every line before
// it. A verifier checks the form, the number and the link of each line and the root
// in each checkpoint, but only that one signature.
//
// # Keys
//
// A verifier key is written NAME+ID+KEY: the name, the key ID in eight hexadecimal
// digits, the base64 of a byte 0x01 and the public key. The root's is what a
// verifier must know. The root signs the key of each stream once, in a certificate:
// a signed note with the text
//
//	scsguard auditlog stream v1
//	NAME
//	the verifier key of the stream, whose name is NAME
//
// followed by an empty line and "— ROOTNAME SIGNATURE". The first record of each
// segment has it in "cert", and all segments of a stream have the same. The key
// of a stream must not verify another one's checkpoints.
//
// # The log's own records
//
// Their first field is "event". The others depend on it, and absent ones are empty
// or zero.
//
//	audit.opened            first of segment 0. cert; config; pid; heartbeat_seconds;
//	                        streams: others as they were at that moment, {stream,size,root}
//	audit.rotated           first of each further segment. segment: its number; cert
//	audit.closed            the last record of a stream that ended in order
//	audit.heartbeat         the log was alive. appended, refused, fsync_errors since the start
//	audit.gap               records are missing. from, to, cause; counts_by_type as the caller
//	                        handed it over, or refused: how many the log itself did not take
//	                        (the caller knew, and may have repeated them)
//	audit.recovered         stream ended, after size records with that root, without
//	                        audit.closed. bytes, sha256: of what follows its last checkpoint
//	audit.clock_jump        the clock was set. from: what it should have shown; to
//	audit.segment_expired   segments of stream are about to be removed. policy; to: the time of
//	                        their last record; ends: for each of them, how many records are in it
//	                        and before it; size, root: of the stream at that moment
//	audit.tamper_suspected  stream is not as it was written. cause; size, root as the writer knew
//
// Where audit.recovered, audit.tamper_suspected or audit.opened name a stream with
// a size and a root, they are in the first batch of their stream, and a verifier
// compares. A record that no checkpoint covers says nothing.
//
// # The end of a stream
//
// What follows the last checkpoint was never acknowledged: whole records that
// continue the stream, then the beginning of a line, or zeros that begin with that
// line or at a multiple of 512 bytes. That is how a crash leaves a file; it makes a
// log incomplete, not tampered with. Anything else there is damage. Only the last
// segment may end so. It may also be empty.
//
// # Removed segments
//
// In place of a segment that retention has removed there is a file of leaves. Its
// first line, with a line feed, is
//
//	{"cert":"CERTIFICATE","cp":"LINE"}
//
// with the certificate's line feeds as \n, and LINE the base64 of the segment's last
// line, a checkpoint. The leaf hashes of its records follow, 32 bytes each. An
// audit.segment_expired record that a checkpoint covers, in any stream of the
// directory, must name the segment, with as many records at its end as that
// checkpoint. If both files are there, the segment counts.
//
// # Heads kept elsewhere
//
// An anchor keeps checkpoints. Where the log has fewer records than one of them, or
// another root at that size, and the checkpoint's signature and certificate are
// good, the end of the log is missing or it was rewritten. [FileAnchor] describes
// its files.
//
// # Proofs
//
// A proof that a stream has a record is a C2SP tlog-proof (c2sp.org/tlog-proof). Its
// extra data are the record's line, a line feed, and the stream's certificate.
package auditlog
