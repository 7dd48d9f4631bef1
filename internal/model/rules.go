package model

// Without takes rules out of the protocol. The zero value is the protocol as it
// has to be. A field that is true makes one step forget the rule that the
// comment states.
type Without struct {
	// Login.

	DueFirst          bool // the due entry comes before everything else
	ReservationsCount bool // a reservation counts
	VictimsDoNotCount bool // a place marked as a victim does not
	NotBefore         bool // a login that was authenticated before an EndAll is refused
	EveryVictim       bool // a login ends everybody's victims, not only its own
	VictimsFirst      bool // the victims are dead before the new record exists
	CreateIfAbsent    bool // a record is created only where there is none, not even a tombstone
	FailedIsOver      bool // a login whose append failed may be in the trail: it ends itself, and is not just given back
	LookFirst         bool // data is missing only if it was looked for after the record was seen alive
	SameKey           bool // a session without data is ended only under the key where the data was missing

	// Ending.

	Tombstone     bool // where there is no record yet, an ending leaves a tombstone
	Compare       bool // what has ended is not ended again
	AppendFirst   bool // an ending is confirmed after it is in the trail
	DeadFirst     bool // a victim is dead before its ending is in the trail
	EndingID      bool // the ID of an ending follows from the session's
	Unmark        bool // a place that leaves the index leaves no marks behind
	HandDown      bool // if it is itself marked, its marks go to who marked it
	ListReserved  bool // EndAll lists reserved places, too
	Intent        bool // EndAll leaves a due entry of its own, so that a sweep can complete it
	TerminalFirst bool // a sweep clears away after a session only when its record is terminal
	CloseLate     bool // a login that a sweep buried before it had reserved cannot reserve any more
	SweepEnded    bool // a sweep completes an ending that is not confirmed
	SweepDetached bool // a sweep ends what stays detached
	AskDue        bool // a sweep ends a live session only if it is still due by its own fields

	// Rotation.

	Pending      bool // the new record is pending until the old one has moved
	AskParent    bool // a pending record is promoted only if its parent has moved to it
	MoveCompares bool // what has moved does not move again
	DetachedBy   bool // what is detached is moved only by who detached it
	TouchFields  bool // a touch changes fields of a live record, and never writes the whole record
}
