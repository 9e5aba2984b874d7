//! What the simulator may see and break inside a server, at no cost to everybody else.
//!
//! A check that has never failed proves nothing. So the engine carries a list of deliberate bugs, its canaries:
//! each is a small slip at the place where it could really be made. A simulator that runs with one of them must
//! find it. And a rule that no run has reached has not been tested, so the engine marks the rules it reaches.
//!
//! Both are asked of a value of the server's type parameter, not of a cargo feature or a global. A feature is
//! united over the whole build: one crate that turned it on would change what the engine decides for every
//! other. A value belongs to one server: a healthy server and a sick one run side by side, in one binary, and a
//! deployed server holds a [`Shipped`], whose answers are constants of zero size that the compiler removes.

/// What a [`Server`](crate::Server) asks and tells while it works. It must not depend on anything but what it was
/// made with and what it was told, or the server is not deterministic any more.
pub trait Probe {
    /// Whether the server is to have this bug. Must give the same answer every time.
    fn canary(&self, canary: Canary) -> bool;

    /// The server has done what this rule says.
    fn reached(&mut self, rule: Rule);
}

/// The probe of a server in production: no bugs wanted, nothing noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped;

impl Probe for Shipped {
    #[inline(always)]
    fn canary(&self, _: Canary) -> bool {
        false
    }

    #[inline(always)]
    fn reached(&mut self, _: Rule) {}
}

/// An enum of unit variants with a list of all, a name for reports, and a sentence for each.
macro_rules! catalogue {
    ($(#[$doc:meta])* $Enum:ident { $($Variant:ident $name:literal $what:literal)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Enum {
            $(#[doc = $what] $Variant,)+
        }

        impl $Enum {
            /// All of them, in the order of their declaration: `ALL[x as usize] == x`.
            pub const ALL: &[Self] = &[$(Self::$Variant,)+];

            /// The name that reports and command lines use: lower-case words joined by hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$Variant => $name,)+ }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$Variant => $what,)+ }
            }
        }

        impl core::fmt::Display for $Enum {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

catalogue! {
    /// A deliberate bug.
    Canary {
        StaleDisconnect "stale-disconnect" "A late end of an old connection ends the newer one in its slot."
        DetachByUser "detach-by-user" "The end of one connection takes all of its user's connections along."
        TakeoverClosesNewest "takeover-closes-newest" "A user with too many connections loses the newest, not the oldest."
        TakeoverForgotten "takeover-forgotten" "However many connections a user opens, none is closed."
        WelcomeBeforeLoad "welcome-before-load" "A client is welcomed before its user's groups are known."
        EarlyReversed "early-reversed" "What a client sends before its user is loaded is routed in reverse."
        EarlyLost "early-lost" "What a client sent before its user was loaded is lost if it leaves meanwhile."
        IdleNeverReaped "idle-never-reaped" "A dead peer is pinged for ever and never closed."
        PongIsNoLife "pong-is-no-life" "A Pong does not count as a sign of life."
        DeadlineLeaked "deadline-leaked" "The deadline of a connection outlives it."
        AbortForgotten "abort-forgotten" "A closing connection that does not end is never cut off."
        DetachForgotten "detach-forgotten" "A closed connection stays one of its user's."
        HeldAfterClose "held-after-close" "A closed connection is still sent the picture that was held for it."
        MembershipKept "membership-kept" "A user who has gone stays a member of groups in the tables."
        UnsubscribeForgotten "unsubscribe-forgotten" "The engine stays subscribed to a group without local members."
        SubscribeForgotten "subscribe-forgotten" "The engine does not subscribe to a group that is new here."
        StoppedEarly "stopped-early" "The server says that it has stopped while messages wait for the store."
        OutboxUnlimited "outbox-unlimited" "The outbox limit is ignored."
        FullEndsFanOut "full-ends-fan-out" "Recipients behind one without room do not get the frame."
        SlowReaderKept "slow-reader-kept" "A connection without room silently loses the frame and stays open."
        FlushNotCounted "flush-not-counted" "What was written to the network is not taken off the outbox."
        HeldNeverReleased "held-never-released" "A held picture stays held: the last one never arrives."
        OldestPictureWins "oldest-picture-wins" "Of two pictures that wait, the older is kept."
        SecondDeviceTwice "second-device-twice" "A user's second connection gets every frame twice."
        EchoToSender "echo-to-sender" "The sender of a group's message gets it back."
        SenderLeftOut "sender-left-out" "A broadcast does not reach its sender."
        GroupTakenForUser "group-taken-for-user" "A group's message goes to the user whose id is the group's."
        FromBelieved "from-believed" "A message travels with whatever sender it claims."
        AnyoneMaySend "anyone-may-send" "Who does not belong to a group can send to it."
        FailedSaveDelivered "failed-save-delivered" "A message that the store failed to keep is delivered."
        DeliveredBeforeStored "delivered-before-stored" "A message is delivered before the store has answered."
        GroupFormSkipped "group-form-skipped" "A group's message is not rewritten for its members."
        GroupFormKeepsFile "group-form-keeps-file" "A group's message still carries its file's suffix and bytes."
        SignalToEverybody "signal-to-everybody" "A call's signal without a recipient goes to everybody."
        CallHijacked "call-hijacked" "A third user who rings takes over an active call."
        RingNeverEnds "ring-never-ends" "A call that nobody answers rings for ever."
        RateUnlimited "rate-unlimited" "The rate limits are ignored."
        PendingUnlimited "pending-unlimited" "The limits of messages that wait for the store are ignored."
        AnswerOrder "answer-order" "Messages are delivered in the order of the store's answers."
        BatchLosesLast "batch-loses-last" "Of several messages that can be delivered at once, the last is lost."
        PipelineDiesWithSender "pipeline-dies-with-sender" "What waits for the store is dropped when its sender leaves."
        FileOvertaken "file-overtaken" "A message is stored before an earlier one whose file is still being kept."
        MessageIdReused "message-id-reused" "All messages have the same id."
        StaleChangeApplied "stale-change-applied" "A change that the directory's state already has in it is applied again."
        ChangeDuringLoadLost "change-during-load-lost" "A change of the directory during a load is lost."
        LoadWaitsAnew "load-waits-anew" "A change of the directory during a load makes everybody wait for it anew."
        LeftKeepsMember "left-keeps-member" "Who was removed from a group still receives what it is sent."
        ReloadForgotten "reload-forgotten" "A load that failed is not tried again."
        RequestTimeoutForgotten "request-timeout-forgotten" "A request that is never answered is waited for for ever."
        OneHomeAssumed "one-home-assumed" "What is for a user who is here is not published, though others may have connections of that user."
        PublishForgotten "publish-forgotten" "Other engines are not told of what is stored."
        PublishedToEveryone "published-to-everyone" "What is for one user is published to all engines."
        OwnDeviceEchoed "own-device-echoed" "Who writes to themselves gets it back on the device that sent it."
        AvatarKept "avatar-kept" "A user's new picture is not used until the user connects anew."
        PingsUnlimited "pings-unlimited" "Pings do not count for the rate limits."
        RateNeverRecovers "rate-never-recovers" "What a connection has sent counts for ever, however slowly it sends."
        PingPositionWrong "ping-position-wrong" "A Ping counts itself among the frames sent before it."
        AbortedAtOnce "aborted-at-once" "A closing connection is given no time to write what is left."
        ReloadAtOnce "reload-at-once" "A load that failed is tried again without a pause."
        AcceptsWhileStopping "accepts-while-stopping" "A server that was told to stop accepts more messages."
        ClosedBeforeSettled "closed-before-settled" "A stopping server closes connections before what they sent is delivered."
        HelloNotRequired "hello-not-required" "A session may send anything before its Hello."
        AckBeforeCommit "ack-before-commit" "A submit is accepted before the store has answered."
        AckForgotten "ack-forgotten" "A submit that is stored is not answered."
        DeliverySeqOffByOne "delivery-seq-off-by-one" "A delivery names the place behind its own."
        EpochNotTold "epoch-not-told" "A delivery does not say which log it belongs to."
        OwnDevicesLeftOut "own-devices-left-out" "The sender's other sessions are not told what was sent."
        OwnCopyToClassic "own-copy-to-classic" "The sender's classic connections get what another device has sent."
        EpochIgnored "epoch-ignored" "A session that has another log than the newest is not told so, if it has as much of it."
        HeadsForgottenAfterLag "heads-forgotten-after-lag" "A session that has lagged is not told the heads."
        ResyncIgnored "resync-ignored" "A resync is not answered."
        ResendForgotten "resend-forgotten" "A classic client that returns is not sent what it has missed."
        ResendsOwn "resends-own" "A classic client is sent again what its own user has said."
        PongCountsTooMuch "pong-counts-too-much" "A Pong is taken as a receipt for what was sent after its Ping too."
        OneDeviceIsEnough "one-device-is-enough" "What has arrived at one classic connection counts for all of the user's."
        LossForgotten "loss-forgotten" "What a connection that ended had not received counts once another one has it."
        LaterLossForgotten "later-loss-forgotten" "What a connection that ended had not received counts if another one is sent it later."
        LiveOvertakes "live-overtakes" "A new message overtakes what is being sent again of its conversation."
        CaughtUpTwice "caught-up-twice" "What was read from the log just before it is delivered is sent twice."
        FirstTakenForRead "first-taken-for-read" "What is delivered after the place behind it began to be read is taken for read."
        ResendNotRetried "resend-not-retried" "What a classic client has missed and could not be read is not read again."
        UserRateUnlimited "user-rate-unlimited" "The rates of a user's connections together are ignored."
        UserRatePerConnection "user-rate-per-connection" "Each connection of a user has the whole rate of the user to itself."
        DeviceNotReplaced "device-not-replaced" "A device that comes back leaves its old session open."
        DeviceReplacedAny "device-replaced-any" "A device that comes closes the user's sessions on other devices too."
        LateHelloTakesOver "late-hello-takes-over" "A Hello that comes late, over a connection that was given up, closes the device's new session."
        AdmissionUnlimited "admission-unlimited" "However many clients connect at once, all are taken in."
        AdmissionSamePlace "admission-same-place" "All who are not taken in are told to come back at the same time."
        DrainAtOnce "drain-at-once" "A stopping server closes all connections at once."
        EarlierDeliveredAgain "earlier-delivered-again" "A submit that was stored earlier is delivered again."
        EarlierNotTold "earlier-not-told" "Nobody is told the place of what was stored earlier."
        PageOfOtherConversation "page-of-other-conversation" "A log is read for the other user, not for who asks."
        EntryToClassic "entry-to-classic" "Classic clients are sent what has no classic form."
        ConcernedLeftOut "concerned-left-out" "Who was removed from a group is not told."
        DenialTransient "denial-transient" "What may not be done is told as what the store cannot do now."
        NoteBelieved "note-believed" "A change of a group is told to whomever a note of another engine names."
        NoteForgotten "note-forgotten" "Other engines are not told what concerns sessions alone."
        MarkToldBeforeStored "mark-told-before-stored" "Marks are told before the store has them."
        MarkEchoed "mark-echoed" "The session that marks is told its own marks."
        MarksOwnDevicesLeftOut "marks-own-devices-left-out" "The user's other sessions are not told its marks."
        MarksNotTold "marks-not-told" "The other user of a conversation is not told marks."
        GroupMarksTold "group-marks-told" "A member's marks are told to the whole group."
        WaitingMarkLost "waiting-mark-lost" "A mark that comes while an earlier one is being stored is lost."
        MarksUnlimited "marks-unlimited" "The limit of marks that wait for the store is ignored."
        MarksLeftOutOfHeads "marks-left-out-of-heads" "A conversation of which only marks are missing is not named in the heads."
        TypingUnchecked "typing-unchecked" "Who does not belong to a group is seen typing in it."
        TypingBelieved "typing-believed" "Whoever a session names is seen typing."
        TypingEchoed "typing-echoed" "Who types in a group is told so."
        TypingMakesLag "typing-makes-lag" "A sign of typing for which there is no room makes a session lag."
        RevokedKeepsNewest "revoked-keeps-newest" "Of a user whose connections are to be closed, the newest stays open."
        RevokedTakesOthers "revoked-takes-others" "With one connection that is to be closed, all of its user's are."
        RevokedComesBack "revoked-comes-back" "A session that has ended is told to come back."
        NoticeToStrangers "notice-to-strangers" "What the server says to one user is told to everybody."
        NoticeToOneDevice "notice-to-one-device" "What the server says to a user is told to one of the user's devices."
        PresenceWithoutGrace "presence-without-grace" "A user is said to be offline the moment its last connection ends."
        PresenceBackIgnored "presence-back-ignored" "Who comes back within the grace is said to be offline all the same."
        PresenceLeftForgotten "presence-left-forgotten" "Nobody is told that a user has gone."
        PresenceToStrangers "presence-to-strangers" "Who has nothing in common with a user is told whether it is here."
        PresenceStaysSubscribed "presence-stays-subscribed" "The engine stays subscribed to a user whom nobody watches any more."
        PresenceQuestionIgnored "presence-question-ignored" "Other engines that ask for a user who is here get no answer."
        PresenceHintBelieved "presence-hint-believed" "A user who is said to have gone elsewhere is offline, without a question."
        PresenceSilenceBelieved "presence-silence-believed" "A user of an engine that does not answer any more stays online."
        PresenceLostInLag "presence-lost-in-lag" "What a session could not be told while it lagged is lost."
        SeenNotStored "seen-not-stored" "The store is not told that a user has gone."
        WatchAdds "watch-adds" "Users are watched beside those named before, not in their place."
        WatchUnlimited "watch-unlimited" "A session may watch any number of users."
        AnybodyRings "anybody-rings" "Who has nothing in common with a user can ring it."
        OneDeviceRings "one-device-rings" "A call rings at one of the callee's devices."
        EveryDeviceTakes "every-device-takes" "The other devices are not told that one has taken a call."
        BusyIgnored "busy-ignored" "A new call ends the one that a user is in."
        GlareLargerWins "glare-larger-wins" "Of two who ring each other, the larger id wins here."
        SignalBeforeAccept "signal-before-accept" "Signals pass before a call is accepted, and from any device."
        CallRingsForEver "call-rings-for-ever" "A call that nobody takes is not ended."
        CallWithoutGrace "call-without-grace" "A call ends the moment a device is disconnected."
        CallNotResumed "call-not-resumed" "A device that comes back does not get its call back."
        CallSilenceIgnored "call-silence-ignored" "A call with an engine that has died goes on for ever."
        CallNotNoted "call-not-noted" "Other engines are not told what happens to a call."
    }
}

catalogue! {
    /// A rule of the server that a run can reach.
    Rule {
        HeartbeatAnswered "heartbeat-answered" "A heartbeat is answered."
        MessageUndecodable "message-undecodable" "What arrived is no message of the protocol."
        MessageTooLarge "message-too-large" "A message is larger than the limit."
        MessagesTooFast "messages-too-fast" "A connection sends more messages than its rate."
        BytesTooFast "bytes-too-fast" "A connection sends more bytes than its rate."
        UserMessagesTooFast "user-messages-too-fast" "The connections of a user together send more messages than its rate."
        UserBytesTooFast "user-bytes-too-fast" "The connections of a user together send more bytes than its rate."
        SenderCorrected "sender-corrected" "`from` was not the sender and was corrected."
        RecipientRefused "recipient-refused" "The recipient cannot be an id."
        NotMember "not-member" "A message to a group that the sender does not belong to is refused."
        PendingFull "pending-full" "A message is refused as too many wait for the store."
        Relayed "relayed" "A message is passed on to a user as it is."
        Broadcast "broadcast" "A message goes to everybody."
        SignalToCall "signal-to-call" "A signal without a recipient goes to the other side of the call."
        SignalWithoutCall "signal-without-call" "A signal without a recipient comes from who is in no call."
        CallRings "call-rings" "A call rings."
        CallActive "call-active" "A call is active: both sides have signalled."
        CallEnded "call-ended" "A signal ends a call."
        CallBusy "call-busy" "Somebody rings who is calling or talking to somebody else."
        EarlyKept "early-kept" "A message is kept as its user is not loaded yet."
        EarlyFull "early-full" "A message is refused as too many wait for their user to be loaded."
        EarlyRouted "early-routed" "A kept message is routed after the welcome."
        EarlyDeparted "early-departed" "A kept message stays although its connection has gone."
        EarlyDepartedRouted "early-departed-routed" "A kept message of a connection that has gone is routed."
        EarlyAfterClose "early-after-close" "A kept message goes nowhere, as one before it closed its connection."
        FileRequested "file-requested" "The store is asked to keep a file."
        FileWaits "file-waits" "A file waits for an earlier message's file."
        FileStored "file-stored" "A file is kept, and its message goes on to the store."
        MessageWaitsForFile "message-waits-for-file" "A message without a file waits for an earlier one's."
        MessageRequested "message-requested" "The store is asked to keep a message."
        MessageStored "message-stored" "A message is stored."
        StoreRefused "store-refused" "The store refuses a message or a file."
        StoreFailed "store-failed" "The store fails to keep a message or a file, or is silent."
        StoredAhead "stored-ahead" "A message is stored and waits for an earlier one."
        DeliveredToUser "delivered-to-user" "A stored message is delivered to a user."
        DeliveredToGroup "delivered-to-group" "A stored message is delivered to a group."
        DeliveredForGone "delivered-for-gone" "A stored message is delivered although its sender has gone."
        RequestTimedOut "request-timed-out" "A request is given up."
        AnswerIgnored "answer-ignored" "An answer is not waited for any more."
        RecipientNotHere "recipient-not-here" "A user who is sent something has no connection here."
        NotOnlineYet "not-online-yet" "A frame passes over a connection that was not welcomed."
        OutboxFull "outbox-full" "A connection has no room for a frame."
        PictureSent "picture-sent" "A live picture is sent at once."
        PictureHeld "picture-held" "A live picture waits for the one before it."
        PictureSuperseded "picture-superseded" "A live picture replaces one that waited."
        PictureDropped "picture-dropped" "There is no room for a live picture."
        PictureReleased "picture-released" "A held picture is sent."
        PictureDiscarded "picture-discarded" "A held picture ends with its connection."
        UserArrived "user-arrived" "A user's first connection opens."
        DeviceArrived "device-arrived" "A user's further connection opens."
        UnreceivedAsked "unreceived-asked" "The store is asked what has not arrived at a user's classic clients."
        FellBehind "fell-behind" "A classic connection is behind with a log."
        ResendOverLimit "resend-over-limit" "A classic connection is behind with more logs than it is sent."
        ResendCut "resend-cut" "Of a log that is far behind, only the newest part is sent again."
        ResendRead "resend-read" "A log is read for a classic connection."
        ResendRefused "resend-refused" "The store refuses a log that a classic connection is behind with."
        ResendFailed "resend-failed" "The store fails to say what has not arrived, or to give it."
        ResendWaits "resend-waits" "There is no room to send more again."
        ResendPaced "resend-paced" "So much was sent again that its arrival is waited for."
        Resent "resent" "A message of a log is sent to a classic connection."
        CaughtUp "caught-up" "A classic connection has been sent a log to its end."
        Withheld "withheld" "A new message waits behind what is sent again of its conversation."
        NotHeld "not-held" "There is no room to keep a new message that waits; it is read from the log."
        HeldSent "held-sent" "A message that had to wait is sent as it came."
        WrittenForArrived "written-for-arrived" "What was written to a client that answers no Pings counts as arrived."
        SentBefore "sent-before" "A message that is delivered was read from the log before."
        ReceiptsFull "receipts-full" "More was sent than is remembered until it has arrived."
        Arrived "arrived" "A Pong shows that stored messages have arrived."
        ReceivedTold "received-told" "The store is told what has arrived."
        ReceivedFailed "received-failed" "The store fails to keep what has arrived."
        ReplacedByNewer "replaced-by-newer" "A connection ends that a newer one of its user has replaced."
        DeviceReplaced "device-replaced" "A session of a device that has another one takes its place."
        HelloOvertaken "hello-overtaken" "A Hello comes after that of a newer connection of its device."
        AdmissionRefused "admission-refused" "A connection is told to come back when there is a place."
        AdmissionsPromised "admissions-promised" "So many places are promised that the next is told the longest time."
        DrainStep "drain-step" "A stopping server closes some of its connections, and the next ones later."
        ArrivedDuringStop "arrived-during-stop" "A connection opens during a shutdown."
        Welcomed "welcomed" "A connection is welcomed."
        Pinged "pinged" "A silent connection is pinged."
        PingAnswered "ping-answered" "A Ping is answered."
        LeftWhileLoading "left-while-loading" "A connection ends before its user is loaded."
        LeftUnasked "left-unasked" "An open connection ends without having been closed."
        LeftAfterClose "left-after-close" "A closed connection ends."
        LeftWithPending "left-with-pending" "A connection ends while its messages wait for the store."
        UserGone "user-gone" "A user's last connection has gone."
        EventStale "event-stale" "An event is about a connection that is closed or gone."
        Aborted "aborted" "A closing connection is cut off."
        ClosedGoingAway "closed-going-away" "Closed: the server shuts down."
        ClosedProtocolError "closed-protocol-error" "Closed: wrong framing."
        ClosedTextMessage "closed-text-message" "Closed: a text message."
        ClosedUndecodable "closed-undecodable" "Closed: no message of the protocol."
        ClosedMessageTooLarge "closed-message-too-large" "Closed: too large a message."
        ClosedTooManyMessages "closed-too-many-messages" "Closed: messages too fast."
        ClosedTooManyBytes "closed-too-many-bytes" "Closed: bytes too fast."
        ClosedSlowReader "closed-slow-reader" "Closed: reads too slowly."
        ClosedTooManyPending "closed-too-many-pending" "Closed: too many messages wait."
        ClosedServerFull "closed-server-full" "Closed: no room."
        ClosedNotAdmitted "closed-not-admitted" "Closed: too many clients are connecting."
        ClosedTakenOver "closed-taken-over" "Closed: a newer connection took over."
        ClosedTooManyDevices "closed-too-many-devices" "Closed: too many connections of one user."
        ClosedIdle "closed-idle" "Closed: no sign of life."
        ClosedByPeer "closed-by-peer" "Closed by the peer."
        Loaded "loaded" "A user is loaded."
        UserUnknown "user-unknown" "The directory does not know a user."
        LoadFailed "load-failed" "A load fails."
        LoadRetried "load-retried" "A load is tried again."
        ChangeApplied "change-applied" "A change of the directory is applied."
        ChangeStale "change-stale" "A change of the directory is older than what is known."
        ChangeDuringLoad "change-during-load" "A change of the directory during a load: it is asked again."
        ChangeElsewhere "change-elsewhere" "A change of the directory is about a user who is not here."
        GroupJoined "group-joined" "A user joins a group."
        GroupLeft "group-left" "A user leaves a group."
        GroupsOverLimit "groups-over-limit" "A user is in more groups than the limit."
        Published "published" "A record is handed to the bus."
        BusToUser "bus-to-user" "A record is for a user."
        BusToGroup "bus-to-group" "A record is for a group."
        BusToEveryone "bus-to-everyone" "A record is for everyone."
        BusUndecodable "bus-undecodable" "A record is no message of the protocol."
        NoteUndecodable "note-undecodable" "A note from the bus is none."
        SessionWelcomed "session-welcomed" "A session is welcomed."
        HelloLate "hello-late" "A session's Hello does not come in time."
        FrameOutOfTurn "frame-out-of-turn" "A frame comes before the Hello, or a second Hello."
        FrameUndecodable "frame-undecodable" "What arrived is no frame of the session protocol."
        SessionHeartbeat "session-heartbeat" "A session's heartbeat is answered."
        GoodbyeSent "goodbye-sent" "A session that is closed is told when to come back."
        GoodbyeWithoutRoom "goodbye-without-room" "There is no room for a goodbye."
        DepartedSession "departed-session" "A session ends before its user is loaded, and leaves submits."
        SubmitInvalid "submit-invalid" "A submit has a field that is missing or wrong."
        SubmitBusy "submit-busy" "A submit is rejected as too many messages wait for the store."
        SubmitAccepted "submit-accepted" "A submit is answered with its place in the log."
        SubmitRefused "submit-refused" "A submit is rejected as the store refuses it."
        SubmitUnavailable "submit-unavailable" "A submit is rejected as the store fails or is silent."
        SubmitStoredEarlier "submit-stored-earlier" "A submit is accepted that was stored earlier: nobody is sent it again."
        PlaceTold "place-told" "Sessions are told the place of what was stored earlier."
        PlaceNoted "place-noted" "Another engine tells the place of what was stored earlier."
        SubmitRepeated "submit-repeated" "A submit is stored that was delivered a moment ago."
        DeliveredToSession "delivered-to-session" "A stored message is delivered to sessions."
        DeliveredToOwnDevices "delivered-to-own-devices" "A stored message is delivered to its sender's other sessions."
        BusOwnCopy "bus-own-copy" "A record is a copy for its sender's devices."
        Lagging "lagging" "A session begins to lag."
        LaggingDropped "lagging-dropped" "A stored message is not pushed to a session that lags."
        LagOver "lag-over" "A session that lagged has been written everything."
        HeadsAsked "heads-asked" "The store is asked for a user's heads."
        HeadsPaged "heads-paged" "The store is asked for more heads."
        HeadsTold "heads-told" "A session has been told all heads."
        HeadsFailed "heads-failed" "A load of heads fails."
        HeadsRetried "heads-retried" "A load of heads is tried again."
        HeadsReplaced "heads-replaced" "A resync replaces heads that are still on their way."
        CursorsOverLimit "cursors-over-limit" "A client names more cursors than the limit."
        FetchRequested "fetch-requested" "The store is asked for a part of a log."
        FetchInvalid "fetch-invalid" "A fetch has a field that is missing or wrong."
        FetchBusy "fetch-busy" "A fetch is refused as too many are open."
        FetchRefused "fetch-refused" "The store refuses a part of a log."
        FetchFailed "fetch-failed" "The store fails to give a part of a log, or is silent."
        MarkInvalid "mark-invalid" "A mark has a field that is missing or wrong."
        MarkWaits "mark-waits" "A mark waits for an earlier one of its conversation."
        MarksFull "marks-full" "A mark is dropped as too many wait for the store."
        MarksRequested "marks-requested" "The store is asked to keep marks."
        MarksStored "marks-stored" "Marks are stored, and have moved."
        MarksUnmoved "marks-unmoved" "Marks were there already."
        MarksRefused "marks-refused" "The store refuses marks."
        MarksFailed "marks-failed" "The store fails to keep marks, or is silent."
        MarksToOwnDevices "marks-to-own-devices" "Marks are told to sessions of their user."
        MarksToPeer "marks-to-peer" "Marks are told to the other user's sessions."
        BusOwnMarks "bus-own-marks" "A note has marks for sessions of their user."
        BusPeerMarks "bus-peer-marks" "A note has marks for the other user's sessions."
        TypingRefused "typing-refused" "A sign of typing is for a conversation that cannot be, or not the sender's."
        TypingTold "typing-told" "A sign of typing is passed on."
        TypingDropped "typing-dropped" "A sign of typing is not pushed to who reads slowly."
        BusTyping "bus-typing" "A note says who is typing."
        PageSent "page-sent" "A part of a log is sent."
        PageWithoutRoom "page-without-room" "There is no room for a page."
        NoteTold "note-told" "Other engines are told something that concerns sessions."
        DeliveredToConcerned "delivered-to-concerned" "A change of a group is delivered to who is no member any more."
        EntryNotedToGroup "entry-noted-to-group" "An entry that another engine has stored is for a group's members."
        EntryNotedToConcerned "entry-noted-to-concerned" "An entry that another engine has stored is for whom it concerns."
        EntryNotedToUser "entry-noted-to-user" "An entry that another engine has stored is for one of two users."
        ClosedUndecodableFrame "closed-undecodable-frame" "Closed: no frame of the session protocol."
        ClosedOutOfTurn "closed-out-of-turn" "Closed: a frame out of turn."
        RevokedConnection "revoked-connection" "A connection that nobody may use any more is closed."
        RevokedUser "revoked-user" "All connections of a user are closed that nobody may use any more."
        RevokedNobody "revoked-nobody" "Nobody may use connections any more that are not there."
        NoticeToUser "notice-to-user" "The server says something to a user."
        NoticeToEveryone "notice-to-everyone" "The server says something to everybody."
        NoticeDropped "notice-dropped" "A session has no room for what the server says."
        ClosedSignedOut "closed-signed-out" "Closed: the login or the token has ended."
        ClosedBanned "closed-banned" "Closed: the user is banned."
        ClosedAdministrator "closed-administrator" "Closed: an administrator wants it so."
        PresenceArrived "presence-arrived" "A user comes online."
        PresenceGrace "presence-grace" "A user's last welcomed connection ends."
        PresenceBack "presence-back" "A user is back before anybody was told that it had gone."
        PresenceLeft "presence-left" "A user has gone."
        PresenceTold "presence-told" "A session is told of a user's presence."
        PresenceRetold "presence-retold" "A session that lagged is told what it has missed of presences."
        PresenceAsked "presence-asked" "Other engines are asked whether a user is there."
        PresenceAnswered "presence-answered" "Another engine is told that a user is here."
        PresenceDoubted "presence-doubted" "A user who is watched is said to have gone."
        PresenceConfirmed "presence-confirmed" "A user who was said to have gone is somewhere else."
        PresenceUnanswered "presence-unanswered" "No engine answers for a user."
        SeenFailed "seen-failed" "The store fails to keep when a user was last here."
        SeenSkipped "seen-skipped" "Too many users have left for this one to be waited for."
        WatchReplaced "watch-replaced" "A session names other users to watch."
        WatchPassedOver "watch-passed-over" "A session names users to watch beyond the limit, or such as cannot be."
        WatchRefused "watch-refused" "A session may not know of a user."
        WatchFailed "watch-failed" "The store fails to say whether a session may know of a user."
        WatchRetried "watch-retried" "It is asked again whether a session may know of users."
        CallBegun "call-begun" "A session rings somebody."
        CallNotAllowed "call-not-allowed" "Who is rung has nothing in common with the caller, or the store fails."
        CallRinging "call-ringing" "A call rings at a user's sessions."
        CallTaken "call-taken" "A device takes a call."
        CallAccepted "call-accepted" "The caller's side learns that a call was taken."
        CallTakenTwice "call-taken-twice" "A device takes a call that another one of another engine has."
        CallSignalled "call-signalled" "A signal of an accepted call is passed on."
        SignalWithoutRoom "signal-without-room" "The other side of a call has no room for a signal."
        CallGlare "call-glare" "Two users ring each other."
        CallLost "call-lost" "A device that has a call, or at which one rings, is disconnected."
        CallResumed "call-resumed" "A device comes back to its call."
        CallsFull "calls-full" "There is no room for another call."
        NoSuchCall "no-such-call" "A session says something of a call that it is not to say, or that is not."
        CallHungUp "call-hung-up" "A call ends: one side has hung up."
        CallDeclined "call-declined" "A call ends: it was declined."
        CallEndBusy "call-end-busy" "A call ends: a side of it is in another call."
        CallTimedOut "call-timed-out" "A call ends: nobody has taken it."
        CallPeerGone "call-peer-gone" "A call ends: the other side has gone."
        CallElsewhere "call-elsewhere" "A call ends here: another device has taken or declined it."
        CallUnreachable "call-unreachable" "A call ends: the other user has no session, or is a stranger."
        Stopped "stopped" "The server has stopped."
    }
}

impl Rule {
    /// The rule by which a connection is closed.
    pub(crate) const fn closed(reason: crate::CloseReason) -> Self {
        use crate::CloseReason;
        match reason {
            CloseReason::GoingAway => Self::ClosedGoingAway,
            CloseReason::ProtocolError => Self::ClosedProtocolError,
            CloseReason::TextMessage => Self::ClosedTextMessage,
            CloseReason::Undecodable => Self::ClosedUndecodable,
            CloseReason::UndecodableFrame => Self::ClosedUndecodableFrame,
            CloseReason::OutOfTurn => Self::ClosedOutOfTurn,
            CloseReason::MessageTooLarge => Self::ClosedMessageTooLarge,
            CloseReason::TooManyMessages => Self::ClosedTooManyMessages,
            CloseReason::TooManyBytes => Self::ClosedTooManyBytes,
            CloseReason::SlowReader => Self::ClosedSlowReader,
            CloseReason::TooManyPending => Self::ClosedTooManyPending,
            CloseReason::ServerFull => Self::ClosedServerFull,
            CloseReason::NotAdmitted => Self::ClosedNotAdmitted,
            CloseReason::TakenOver => Self::ClosedTakenOver,
            CloseReason::TooManyDevices => Self::ClosedTooManyDevices,
            CloseReason::Idle => Self::ClosedIdle,
            CloseReason::SignedOut => Self::ClosedSignedOut,
            CloseReason::Banned => Self::ClosedBanned,
            CloseReason::Administrator => Self::ClosedAdministrator,
            CloseReason::PeerClosed => Self::ClosedByPeer,
        }
    }
}
