//! `POST /commands`: the one route by which configuration changes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    events::{
        BudgetRule, CostDifference, GrantedModels, KeyLimits, ModelType, Owner, Provider,
        RateLimitRule, Role, Routing, Subject, TeamRole,
    },
    id::{
        BudgetPolicyId, CommandId, GrantId, KeyId, ModelId, OperatorId, ProviderAccountId,
        RateLimitPolicyId, TeamId, UserId, VirtualAccountId, VirtualModelId,
    },
    money::Price,
    time::Timestamp,
};

/// Body of `POST /commands`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// Chosen by the sender: the same id with the same body gives the same answer again, and changes nothing
    /// twice. Made by the server when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// Why, for the history; at most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do.
    pub command: NewCommand,
}

/// What to do. Names and texts are checked by the server, so that a mistake is answered with its field.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NewCommand {
    /// Make an account at a provider known.
    RegisterProviderAccount {
        /// 1 to 63 of a-z 0-9 . _ -
        name: String,
        /// The dialect.
        provider: Provider,
        /// For example `https://api.openai.com/v1`.
        base_url: String,
        /// The provider's API key; sealed at once, never shown again.
        credential: Option<String>,
        /// Whether its host may have private and local addresses; only then gateways connect to those.
        #[serde(default)]
        allows_private_addresses: bool,
    },
    /// Give a provider account another name.
    RenameProviderAccount {
        /// Which.
        account: ProviderAccountId,
        /// The new name.
        name: String,
    },
    /// Change where a provider account is. The credential must be given again.
    MoveProviderAccount {
        /// Which.
        account: ProviderAccountId,
        /// The new base URL.
        base_url: String,
        /// The credential for it.
        credential: Option<String>,
    },
    /// Replace a provider account's credential.
    ReplaceProviderCredential {
        /// Which.
        account: ProviderAccountId,
        /// The new credential; `null`: the provider wants none.
        credential: Option<String>,
    },
    /// Destroy the ciphertext of a provider account's credential, and those of all that it had before. Nothing goes to the
    /// account until it is given another.
    ShredProviderCredential {
        /// Which.
        account: ProviderAccountId,
    },
    /// Let the host of a provider account have private and local addresses: those of the gateway's own machine, of private
    /// networks, of links.
    AllowProviderPrivateAddresses {
        /// Which.
        account: ProviderAccountId,
    },
    /// Let gateways connect to the host of a provider account at public addresses only.
    ForbidProviderPrivateAddresses {
        /// Which.
        account: ProviderAccountId,
    },
    /// Send no requests to a provider account.
    DisableProviderAccount {
        /// Which.
        account: ProviderAccountId,
    },
    /// Send requests to it again.
    EnableProviderAccount {
        /// Which.
        account: ProviderAccountId,
    },
    /// Delete a provider account that has no models.
    DeleteProviderAccount {
        /// Which.
        account: ProviderAccountId,
    },
    /// Make a model of a provider account known.
    AddModel {
        /// The account.
        account: ProviderAccountId,
        /// Callers ask for `<account's name>/<name>`.
        name: String,
        /// The provider's own name for it; `null`: the same.
        upstream_name: Option<String>,
        /// What it can be asked for.
        model_types: BTreeSet<ModelType>,
    },
    /// Give a model another name.
    RenameModel {
        /// Which.
        model: ModelId,
        /// The new name.
        name: String,
    },
    /// Let a model stand for another model of the provider.
    ChangeModelUpstreamName {
        /// Which.
        model: ModelId,
        /// The provider's name.
        upstream_name: String,
    },
    /// Set a model's price from a moment on.
    SetModelPrice {
        /// Which.
        model: ModelId,
        /// The price.
        price: Price,
        /// From when on; `null`: from now on.
        effective_at: Option<Timestamp>,
    },
    /// Correct what a model cost in a time that is past. Requests that it answered then cost what the price says; what they cost
    /// until now stays known.
    RepriceUsage {
        /// Which.
        model: ModelId,
        /// From when on, inclusive.
        from: Timestamp,
        /// Until when, exclusive; not later than now.
        until: Timestamp,
        /// What it cost in that time.
        price: Price,
        /// The difference as `GET /models/{id}/repricing` has told it: the correction is refused when it is another by now.
        shown: CostDifference,
    },
    /// Let a model take no requests.
    DisableModel {
        /// Which.
        model: ModelId,
    },
    /// Let it take requests again.
    EnableModel {
        /// Which.
        model: ModelId,
    },
    /// Delete a model that nothing refers to.
    DeleteModel {
        /// Which.
        model: ModelId,
    },
    /// Make a virtual model.
    CreateVirtualModel {
        /// The name that callers ask for: a short one, or one like a model's, `first/second`. It stands before a model that
        /// is called the same.
        name: String,
        /// How it chooses among its targets.
        routing: Routing,
    },
    /// Give a virtual model another name.
    RenameVirtualModel {
        /// Which.
        virtual_model: VirtualModelId,
        /// The new name.
        name: String,
    },
    /// Let a virtual model choose differently.
    ChangeVirtualModelRouting {
        /// Which.
        virtual_model: VirtualModelId,
        /// The new routing.
        routing: Routing,
    },
    /// Let a virtual model take no requests.
    DisableVirtualModel {
        /// Which.
        virtual_model: VirtualModelId,
    },
    /// Let it take requests again.
    EnableVirtualModel {
        /// Which.
        virtual_model: VirtualModelId,
    },
    /// Delete a virtual model that nothing refers to.
    DeleteVirtualModel {
        /// Which.
        virtual_model: VirtualModelId,
    },
    /// Make a person a user, who may own keys.
    AddUser {
        /// The person's e-mail address.
        email: String,
        /// The person's name.
        name: String,
    },
    /// Change a user's e-mail address.
    ChangeUserEmail {
        /// Which.
        user: UserId,
        /// The new address.
        email: String,
    },
    /// Give a user another name. The history notes that it changed, not what it is or was.
    RenameUser {
        /// Which.
        user: UserId,
        /// The new name.
        name: String,
    },
    /// Let none of a user's keys work.
    DisableUser {
        /// Which.
        user: UserId,
    },
    /// Let them work again.
    EnableUser {
        /// Which.
        user: UserId,
    },
    /// Erase a user's name and e-mail address. The user stays, with keys and grants, and is shown by the id. This cannot be
    /// undone; the history, which knows only the id, stays as it is.
    EraseUser {
        /// Which.
        user: UserId,
    },
    /// Delete a user who has neither keys nor grants; the user leaves all teams.
    DeleteUser {
        /// Which.
        user: UserId,
    },
    /// Make a virtual account: an owner of keys that is no person.
    CreateVirtualAccount {
        /// Its name.
        name: String,
    },
    /// Give a virtual account another name.
    RenameVirtualAccount {
        /// Which.
        virtual_account: VirtualAccountId,
        /// The new name.
        name: String,
    },
    /// Let none of a virtual account's keys work.
    DisableVirtualAccount {
        /// Which.
        virtual_account: VirtualAccountId,
    },
    /// Let them work again.
    EnableVirtualAccount {
        /// Which.
        virtual_account: VirtualAccountId,
    },
    /// Delete a virtual account that has neither keys nor grants.
    DeleteVirtualAccount {
        /// Which.
        virtual_account: VirtualAccountId,
    },
    /// Make a team: users who may use the same models.
    CreateTeam {
        /// Its name.
        name: String,
    },
    /// Give a team another name.
    RenameTeam {
        /// Which.
        team: TeamId,
        /// The new name.
        name: String,
    },
    /// Let what was granted to a team open nothing.
    DisableTeam {
        /// Which.
        team: TeamId,
    },
    /// Let it open models again.
    EnableTeam {
        /// Which.
        team: TeamId,
    },
    /// Delete a team that has no grants; its members leave it.
    DeleteTeam {
        /// Which.
        team: TeamId,
    },
    /// Let a user come into a team; a team has at most 10,000 members, and a user is in at most 100 teams.
    AddTeamMember {
        /// The team.
        team: TeamId,
        /// Who.
        user: UserId,
        /// What the user is in it.
        role: TeamRole,
    },
    /// Let a member be something else in a team.
    ChangeTeamMemberRole {
        /// The team.
        team: TeamId,
        /// Who.
        user: UserId,
        /// What the user is in it from now on.
        role: TeamRole,
    },
    /// Let a user leave a team.
    RemoveTeamMember {
        /// The team.
        team: TeamId,
        /// Who.
        user: UserId,
    },
    /// Make an API key. The answer shows it, once.
    IssueKey {
        /// Who owns it.
        owner: Owner,
        /// What to call it: another name than the owner's other keys have.
        label: String,
        /// When it ceases to work.
        expires_at: Option<Timestamp>,
        /// Its limits.
        #[serde(default)]
        limits: KeyLimits,
    },
    /// Call a key something else.
    RelabelKey {
        /// Which.
        key: KeyId,
        /// The new label: another one than the owner's other keys have.
        label: String,
    },
    /// Change a key's limits.
    ChangeKeyLimits {
        /// Which.
        key: KeyId,
        /// The new limits.
        limits: KeyLimits,
    },
    /// Change when a key ceases to work.
    ChangeKeyExpiry {
        /// Which.
        key: KeyId,
        /// The new time; `null`: never.
        expires_at: Option<Timestamp>,
    },
    /// Give a key a new secret. The answer shows it, once; its id, owner, limits and grants stay.
    RotateKey {
        /// Which.
        key: KeyId,
        /// For how many seconds the secret until now works as well: 0 to 7,776,000 (90 days). 0: it ceases to work at
        /// once. A secret from before that one ceases to work in any case.
        #[cfg_attr(feature = "openapi", schema(maximum = 7_776_000))]
        grace_seconds: u64,
    },
    /// Let a key's secret from before its last rotation not work any more, before its time.
    RevokeFormerSecret {
        /// Which.
        key: KeyId,
    },
    /// Let a key not work for now.
    DisableKey {
        /// Which.
        key: KeyId,
    },
    /// Let it work again.
    EnableKey {
        /// Which.
        key: KeyId,
    },
    /// Let a key never work again.
    RevokeKey {
        /// Which.
        key: KeyId,
    },
    /// Let a subject use models.
    GrantAccess {
        /// Who.
        subject: Subject,
        /// What.
        models: GrantedModels,
    },
    /// Change what a grant opens.
    ChangeGrantedModels {
        /// Which.
        grant: GrantId,
        /// What it opens now.
        models: GrantedModels,
    },
    /// Take a grant away.
    RevokeAccess {
        /// Which.
        grant: GrantId,
    },
    /// Let a person use the console.
    AddOperator {
        /// The person's e-mail address.
        email: String,
        /// The person's name.
        name: String,
        /// What the person may do.
        role: Role,
        /// The first password; at least 12 characters.
        password: String,
    },
    /// Change what an operator may do.
    ChangeOperatorRole {
        /// Which.
        operator: OperatorId,
        /// The new role.
        role: Role,
    },
    /// Give an operator another name. The history notes that it changed, not what it is or was.
    RenameOperator {
        /// Which.
        operator: OperatorId,
        /// The new name.
        name: String,
    },
    /// Change an operator's e-mail address, with which the operator signs in from then on.
    ChangeOperatorEmail {
        /// Which.
        operator: OperatorId,
        /// The new address.
        email: String,
    },
    /// Set another operator's password.
    SetOperatorPassword {
        /// Which.
        operator: OperatorId,
        /// The new password; at least 12 characters.
        password: String,
    },
    /// Let an operator not sign in.
    DisableOperator {
        /// Which.
        operator: OperatorId,
    },
    /// Let an operator sign in again.
    EnableOperator {
        /// Which.
        operator: OperatorId,
    },
    /// Remove an operator.
    RemoveOperator {
        /// Which.
        operator: OperatorId,
    },
    /// Erase the name and e-mail address of somebody who was removed as an operator. The history goes on to say what the
    /// person did, under the id. This cannot be undone.
    EraseOperator {
        /// Which.
        operator: OperatorId,
    },
    /// Make a rate-limit policy.
    CreateRateLimitPolicy {
        /// Its name.
        name: String,
        /// Where it stands among the policies: the one with the smallest number that matches a request applies; of those with
        /// the same number, the oldest.
        order: u32,
        /// What it limits.
        rule: Box<RateLimitRule>,
    },
    /// Give a rate-limit policy another name.
    RenameRateLimitPolicy {
        /// Which.
        policy: RateLimitPolicyId,
        /// The new name.
        name: String,
    },
    /// Put a rate-limit policy elsewhere among the policies.
    MoveRateLimitPolicy {
        /// Which.
        policy: RateLimitPolicyId,
        /// Where it stands from now on.
        order: u32,
    },
    /// Let a rate-limit policy limit something else, or to another amount.
    ChangeRateLimitRule {
        /// Which.
        policy: RateLimitPolicyId,
        /// What it limits from now on.
        rule: Box<RateLimitRule>,
    },
    /// Let a rate-limit policy match no request.
    DisableRateLimitPolicy {
        /// Which.
        policy: RateLimitPolicyId,
    },
    /// Let it match requests again.
    EnableRateLimitPolicy {
        /// Which.
        policy: RateLimitPolicyId,
    },
    /// Delete a rate-limit policy.
    DeleteRateLimitPolicy {
        /// Which.
        policy: RateLimitPolicyId,
    },
    /// Make a budget policy.
    CreateBudgetPolicy {
        /// Its name.
        name: String,
        /// Where it stands among the budget policies: of those that match a request, the one with the smallest number
        /// decides, of those with the same number the oldest; all of them count what it uses.
        order: u32,
        /// What it limits.
        rule: Box<BudgetRule>,
    },
    /// Give a budget policy another name.
    RenameBudgetPolicy {
        /// Which.
        policy: BudgetPolicyId,
        /// The new name.
        name: String,
    },
    /// Put a budget policy elsewhere among the budget policies.
    MoveBudgetPolicy {
        /// Which.
        policy: BudgetPolicyId,
        /// Where it stands from now on.
        order: u32,
    },
    /// Let a budget policy limit something else, or to another amount. What was used stays used.
    ChangeBudgetRule {
        /// Which.
        policy: BudgetPolicyId,
        /// What it limits from now on.
        rule: Box<BudgetRule>,
    },
    /// Let a budget policy match no request.
    DisableBudgetPolicy {
        /// Which.
        policy: BudgetPolicyId,
    },
    /// Let it match requests again.
    EnableBudgetPolicy {
        /// Which.
        policy: BudgetPolicyId,
    },
    /// Delete a budget policy.
    DeleteBudgetPolicy {
        /// Which.
        policy: BudgetPolicyId,
    },
    /// Give the organisation another name.
    RenameOrganisation {
        /// The new name; `null`: none.
        name: Option<String>,
    },
    /// Change how long the ledger keeps request records, and their sums by the minute. What is older is deleted, for ever.
    ChangeRetention {
        /// How long request records are kept: 14 to 3,650 days.
        #[cfg_attr(feature = "openapi", schema(minimum = 14, maximum = 3_650))]
        requests_days: u32,
        /// How long their sums by the minute are kept: at least as long, at most 3,650 days.
        #[cfg_attr(feature = "openapi", schema(minimum = 14, maximum = 3_650))]
        sums_days: u32,
    },
    /// Change when sessions of the console end, also those that there are.
    ChangeSessionBounds {
        /// After so many minutes without use: 5 to 10,080 (7 days), and no more than `longest_hours`.
        #[cfg_attr(feature = "openapi", schema(minimum = 5, maximum = 10_080))]
        idle_minutes: u32,
        /// After so many hours in any case: 1 to 2,160 (90 days).
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 2_160))]
        longest_hours: u32,
    },
}

/// What a command answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandAnswer {
    /// The command.
    pub command_id: CommandId,
    /// The position of its last event: pass it as `at_least` to read what it wrote, or to `/served` to await it.
    pub position: u64,
    /// Its events; none when everything already was as the command wants it.
    pub events: Vec<EventSummary>,
    /// The id of what it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The key or token that it made: shown here, once, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// An event in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventSummary {
    /// Its position.
    pub position: u64,
    /// What happened.
    pub kind: String,
    /// To what: `<aggregate>.<id>`.
    pub stream: String,
}
