package registrytest

// fault is one thing that a broken registry does.
type fault string

// Reading.
const (
	failsOnUnknown  fault = "returns an error for what is unknown"
	showsReserved   fault = "shows logins in progress"
	showsUndone     fault = "shows what is left of a login that was undone"
	listsOverdue    fault = "lists what is overdue"
	mixesNamespaces fault = "mixes namespaces"
	makesNamespaces fault = "makes a new namespace for each call"
	foldsCase       fault = "takes Alice for alice"
	trimsBlanks     fault = "trims user IDs"
	repairsUTF8     fault = "repairs user IDs that are no UTF-8"
	sharesWarnings  fault = "changes a slice that it has handed out"
	trustsNonsense  fault = "judges a record that makes no sense by its limits"
)

// The cap.
const (
	admitsWithoutLock   fault = "lets go of the lock between counting and reserving"
	reservesNothing     fault = "does not count logins in progress"
	losesMarks          fault = "forgets whom a login has to end"
	endsAtAdmit         fault = "ends the victims at Admit"
	evictsOne           fault = "evicts one session where several have to go"
	evictsTheNewest     fault = "evicts the login itself"
	ordersByCreated     fault = "takes the oldest by Created"
	ignoresReplaces     fault = "ignores Replaces"
	ignoresEnd          fault = "ignores the session that the user chose to end"
	matchesNoBrowser    fault = "takes two logins without a token for one browser"
	discountsOverdue    fault = "discounts overdue sessions without ending them"
	overdueHoldPlaces   fault = "counts overdue sessions"
	admitsAnyKey        fault = "overwrites what lies under a key"
	existsIsRevoked     fault = "says that a key is revoked where it has a record"
	existsWithoutRecord fault = "does not return the record that a key has"
	tombstonesExist     fault = "says that a tombstone is a record"
	lastLoginIsAnyTry   fault = "takes a login that failed for the last login"
	lastLoginGoesBack   fault = "takes a session that is older than others for the last login"
	limitBeforeKey      fault = "denies by the limit what is in progress under the same key"
	reservedIsRevoked   fault = "says that a key is revoked where a login is in progress"
	keepsAllWarnings    fault = "keeps warnings without bound"
	warnsForEver        fault = "hands out the same warnings again"
)

// The not-before.
const (
	forgetsNotBefore fault = "forgets the not-before"
	trustsTheUnknown fault = "takes an unknown time of authentication for now"
	refusesEqual     fault = "refuses a login authenticated at the moment of EndAll"
)

// Settle.
const (
	settlesAgain          fault = "settles a live session again"
	settleRevives         fault = "Settle brings back what has ended"
	settlesByKey          fault = "settles whatever lies under the key"
	undoesTheLive         fault = "undoes a login that has succeeded"
	keepsUndone           fault = "lets a place leak when a login is undone"
	endsOwnVictimsOnly    fault = "ends only the login's own victims"
	leavesMarksBehind     fault = "leaves a mark behind when a session moves"
	livesBeforeVictimsDie fault = "brings a session to life before its victims are dead"
	forgetsToUnmark       fault = "leaves victims marked when a login is undone"
	handsNothingDown      fault = "hands no victims down"
	roomIsForgotten       fault = "forgets that room may come back"
	countsBeforeItEnds    fault = "counts before it ends abandoned logins"
)

// Making room.
const (
	marksOnce           fault = "marks nobody who is marked already"
	chargesReplaced     fault = "counts whom a login replaces"
	replacesAtTheCap    fault = "replaces only where there is no room"
	refusalMarks        fault = "marks sessions for a login that it refuses"
	handsReasonDown     fault = "hands victims down as they were marked"
	noRoomEvicts        fault = "evicts the oldest under Deny"
	noRoomEndsTheNewest fault = "ends the newest where there is no room"
	noRoomEndsTheLogin  fault = "ends the login where there is no room"
	noRoomIsEvicted     fault = "says that a login without room was evicted"
	datesFromAdmission  fault = "dates an ending by who asked for it"
)

// Touch, Detach, Move.
const (
	touchRevives          fault = "Touch brings back what has ended"
	refusesTheOverdue     fault = "Touch refuses whatever is overdue"
	touchEndsTheOverdue   fault = "Touch ends what is overdue"
	touchResetsNoRole     fault = "Touch resets no role"
	touchForgetsNoAuth    fault = "Touch forgets no authentication"
	touchKeepsFingerprint fault = "Touch keeps the fingerprint"
	touchKeepsMismatch    fault = "Touch keeps the mismatch"
	tellsNoMismatch       fault = "does not say which mismatch was noted before"
	touchKeepsExtra       fault = "Touch keeps what is extra"
	emptyExtraIsNone      fault = "takes an empty Extra for none"
	touchEmpties          fault = "Touch empties what it does not name"
	numbersWithoutLock    fault = "lets go of the lock while it counts"
	countsNoExtension     fault = "counts no extensions"
	countsLateActivity    fault = "counts activity after the deadline"
	movesBackwards        fault = "moves the last activity back"
	refusesOldActivity    fault = "refuses activity before the last one"
	loosens               fault = "loosens limits"
	queuesOnce            fault = "looks again only at the deadline it knew first"
	tightenedIsDueAtOnce  fault = "takes what is tightened for overdue"
	touchTakesTheLease    fault = "Touch ends the lease of who got it from Due"
	showsDetached         fault = "serves what is detached"
	detachedIsAnybodys    fault = "lets anybody move what is detached"
	detachedIsLost        fault = "does not find what is detached"
	detachFreesPlace      fault = "gives the place of a detached session away"
	detachFollows         fault = "Detach follows a session that has moved"
	renewsNoLease         fault = "does not renew the lease of what is detached"
	movesWithoutLock      fault = "lets go of the lock before a move"
	touchesBetween        fault = "loses a touch beside a move"
	movesTheFirstRecord   fault = "moves a record as it was at first"
	moveResets            fault = "resets what a rotation leaves zero"
	movesAnywhere         fault = "moves over what lies under a key"
	movesToTheEnd         fault = "makes a session younger when it moves"
	rolesStay             fault = "ignores the role of a rotation"
	moveKeepsMismatch     fault = "Move keeps the mismatch of the old token"
	moveClearsMismatch    fault = "Move forgets every mismatch"
	loginAALStays         fault = "keeps the AAL of the login after a full authentication"
	staysRemembered       fault = "remembers a session although its user has fully authenticated"
	everyProofIsFull      fault = "takes every authentication for a full one"
	deadlineSinceTheMove  fault = "counts a new deadline from the move"
	deadlineSinceTheLogin fault = "counts a new deadline from the login"
	revivesTheOver        fault = "gives a new deadline to a session past the old one"
)

// Ending.
const (
	endsTwice            fault = "ends what has ended"
	endsWithoutLock      fault = "lets go of the lock before an ending"
	doesNotFollow        fault = "does not follow a session that has moved"
	endsAnybodys         fault = "ends any user's session by its name"
	buriesNothing        fault = "leaves no tombstone"
	buriesForAnybody     fault = "leaves a tombstone for Exact and IfDue, too"
	buriesTheLost        fault = "takes a lost session for a key without one"
	buriesWithoutLock    fault = "lets go of the lock before it leaves a tombstone"
	losesTheName         fault = "forgets which session was lost"
	forgetsReplacedAt    fault = "forgets when a login took over"
	replacesOnlyTheDead  fault = "forgets when a login took over from a key that has moved"
	forgetsTheRequest    fault = "forgets who ended a session"
	exactFollows         fault = "takes Exact for nothing"
	endsTheTouched       fault = "IfDue ends what was touched"
	leaksPlaces          fault = "lets a place leak when a session ends"
	numbersNoEnding      fault = "gives an ending no number"
	missesReserved       fault = "EndAll misses logins in progress"
	exceptsNobody        fault = "EndAll ends the exception, too"
	listsBeforeNotBefore fault = "EndAll looks for sessions before it closes the door"
	returnsAll           fault = "EndAll returns all records"
	revokesTheOverdue    fault = "EndAll revokes what is overdue"
	leasesTheRest        fault = "EndAll leases what it does not return"
	losesBefore          fault = "does not say before when logins were refused"
	beforeIsNow          fault = "says that logins were refused before now"
	everyoneIsNobody     fault = "forgets that everyone is the user as well"
	watchesNothing       fault = "watches nothing"
	watchesForEver       fault = "does not close what it watches by"
)

// The outbox.
const (
	losesEndings       fault = "loses endings that are not confirmed"
	losesConfirmations fault = "loses confirmations"
	confirmsTheLiving  fault = "ends what is confirmed"
	confirmDrops       fault = "drops the tombstone with the confirmation"
	handsOutTwice      fault = "hands out twice"
	endsWithoutLease   fault = "hands out an ending at once"
	tombstonesAreDue   fault = "hands out tombstones of nobody"
	handsOutOnce       fault = "hands out only once"
	handsOutTooMany    fault = "hands out more than asked for"
	handsOutTheLiving  fault = "hands out what is not due"
)

// Many at once.
const (
	batchEndsAll        fault = "ends what is not due together with what is"
	batchBuries         fault = "leaves tombstones for unknown keys of many"
	batchEndsFirst      fault = "tells of the first of many only"
	batchTellsAll       fault = "tells of what others have ended"
	batchKeepsPlaces    fault = "lets the places of many leak"
	batchWithoutLease   fault = "hands out at once what was ended together"
	batchLosesEndings   fault = "loses the endings of many"
	batchLosesKeep      fault = "forgets for how long the endings of many are kept"
	batchConfirmsFirst  fault = "confirms the first of many only"
	batchConfirmsLiving fault = "confirms of many what lives"
)

// Expiry.
const (
	keepsForEver       fault = "forgets a time to live"
	remembersUsers     fault = "never forgets a user"
	forgetsTombstones  fault = "forgets tombstones too soon"
	forgetsUnconfirmed fault = "forgets a tombstone with its ending"
	forgetsExternals   fault = "forgets at once that an external ID was ended"
	forgetsTheLiving   fault = "forgets a user who is logged in"
)
