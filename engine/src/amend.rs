//! Edits and recalls: which of them a store takes.

use crate::{
    denial::Denial,
    storage::{Role, Subject},
};

/// What the rules ask about the entry that an edit or a recall is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// Whether it is a message, and not about one itself.
    pub is_message: bool,
    /// Whether it is the sender's own.
    pub is_own: bool,
    /// Whether it was recalled.
    pub is_recalled: bool,
}

impl Subject {
    /// Whether the sender of this edit or recall, who may write to the conversation, may have it done: `target` is the
    /// entry that it is about, none if there is none that the sender may read, and `role` what the sender is in a group.
    /// Everything else may be.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, target: Option<TargetFacts>, role: Option<Role>) -> Result<(), Denial> {
        let may_recall = role.is_some_and(|role| role >= Role::Admin);
        let (may_others, not_own) = match self {
            Self::Message | Self::Change(_) => return Ok(()),
            Self::Edit { .. } => (false, Denial::EditOfOther),
            Self::Recall { .. } => (may_recall, Denial::RecallOfOther),
        };
        match target {
            None | Some(TargetFacts { is_message: false, .. }) => Err(Denial::NoMessage),
            // Whose message it is comes first: who may not do it is not told whether it could be done.
            Some(TargetFacts { is_own: false, .. }) if !may_others => Err(not_own),
            Some(TargetFacts { is_recalled: true, .. }) => Err(Denial::Recalled),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Denial, Role, Subject, TargetFacts};

    const OWN: TargetFacts = TargetFacts { is_message: true, is_own: true, is_recalled: false };
    const OTHERS: TargetFacts = TargetFacts { is_own: false, ..OWN };

    #[test]
    fn a_message_is_edited_by_who_has_sent_it_and_recalled_by_admins_too() {
        let (edit, recall) = (Subject::Edit { target_seq: 1 }, Subject::Recall { target_seq: 1 });
        for role in [None, Some(Role::Member), Some(Role::Admin), Some(Role::Owner)] {
            let is_admin = role.is_some_and(|role| role >= Role::Admin);
            let recalled = if is_admin { Ok(()) } else { Err(Denial::RecallOfOther) };
            assert_eq!((edit.judge(Some(OWN), role), recall.judge(Some(OWN), role)), (Ok(()), Ok(())));
            assert_eq!(edit.judge(Some(OTHERS), role), Err(Denial::EditOfOther));
            assert_eq!(recall.judge(Some(OTHERS), role), recalled, "{role:?}");
        }
    }

    #[test]
    fn what_is_no_message_or_was_recalled_is_not_changed() {
        let gone = TargetFacts { is_recalled: true, ..OWN };
        let entry = TargetFacts { is_message: false, ..OWN };
        for subject in [Subject::Edit { target_seq: 1 }, Subject::Recall { target_seq: 1 }] {
            for target in [None, Some(entry), Some(TargetFacts { is_own: false, ..entry })] {
                assert_eq!(subject.judge(target, Some(Role::Owner)), Err(Denial::NoMessage), "{target:?}");
            }
            assert_eq!(subject.judge(Some(gone), Some(Role::Owner)), Err(Denial::Recalled));
        }
        let others = TargetFacts { is_recalled: true, ..OTHERS };
        let edit = Subject::Edit { target_seq: 1 };
        assert_eq!(edit.judge(Some(others), Some(Role::Owner)), Err(Denial::EditOfOther));
    }
}
