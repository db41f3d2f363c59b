// What the console asks the gateway, and the shapes of its answers: `/api/v1/openapi.json` describes them.

export type Me = {
  issuer: string;
  subject: string;
  name: string | null;
  groups: string[];
  rights: string[];
  authenticated_at: string | null;
  /** Of which kind the sign-in was. */
  acr: string | null;
  session_ends_at: string | null;
  csrf: string | null;
};

export type Requester = { issuer: string; subject: string; kind: string; actors: string[] };

export type ApprovalHead = {
  id: string;
  state: string;
  cause: string;
  requester: Requester;
  function: string;
  effect: string;
  rules: string[];
  asked_at: string;
  expires_at: string;
  ended_at: string | null;
};

export type Vote = {
  issuer: string;
  subject: string;
  verdict: string;
  reason: string;
  at: string;
  voided_at: string | null;
  /** The grant that it comes from, where nobody was asked about this very call. */
  grant: string | null;
};

export type Rule = {
  id: string;
  hash: string;
  any_of: string[][];
  quorum: number;
  reason: string | null;
  /** A yes needs a sign-in of one of these kinds; none: any. */
  acr: string[];
  /** A yes needs a sign-in at most so many seconds ago. */
  max_age_s: number | null;
  /** For how many later calls, and how many seconds, a yes may be widened; absent: for none. */
  grant_uses_max: number | null;
  grant_within_max_s: number | null;
  open: boolean;
  votes: Vote[];
};

/** Text of strangers, made visible by the gateway. */
export type ShownText = { text: string; bytes: number; made_visible: number };

export type Shown = {
  method: ShownText;
  target: ShownText;
  headers: { name: ShownText; value: ShownText }[];
  input: { name: ShownText; value: ShownText }[];
  body: ShownText | null;
  body_is_hex: boolean;
};

export type Difference = { path: ShownText; kind: "added" | "removed" | "changed"; before: ShownText | null; now: ShownText | null };

export type SinceLast = { approval: string; state: string; asked_at: string; differences: Difference[] | null };

export type Question = { id: string; function: string; effect: string; state: string; asked_at: string };

/** For which later calls a yes stands as well. */
export type Widening = { uses: number; within_s: number; any: string[]; at_most: Record<string, string> };

export type Grant = {
  id: string;
  approval: string;
  granter: string;
  caller: string;
  function: string;
  pattern: string[];
  uses_max: number;
  used: number;
  at: string;
  until: string;
  stands: boolean;
  ended_at: string | null;
  ended_by: string | null;
};

export type GrantsPage = { grants: Grant[]; next: string | null };

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export type Head = { method?: string; target?: string; status?: number; headers?: [string, string][] };

export type Approval = {
  head: ApprovalHead;
  digest: string;
  call: string;
  summary: { request?: Head; body?: { text?: string; hex?: string } | null; input?: Json } | null;
  frozen_bytes: number;
  rules: Rule[];
  /** The exact call, made visible; absent once it has ended. */
  shown: Shown | null;
  /** This caller's last question about the same function, and what differs. */
  since_last: SinceLast | null;
  /** This caller's other questions of late. */
  recent: Question[];
  /** Hashes of the rules that this person may answer. */
  may_decide: string[];
};

export type Call = {
  call: string;
  at: string;
  function: string | null;
  issuer: string;
  subject: string | null;
  subject_ref: string;
  principal_kind: string;
  outcome: string;
  reason: string | null;
  status: number | null;
  approval: string | null;
  masked: Record<string, number>;
  total_ms: number | null;
  tried: Json;
};

export type CallsPage = { calls: Call[]; next: string | null };

export type RecordView = { index: number; kind: string; fields: Record<string, Json>; text: string; content: Json };

export type CallDetail = {
  summary: Call;
  records: RecordView[];
  proof: { covered: boolean; head_size: number | null; head_at: string | null };
  may_replay: boolean;
};

export type Part = {
  text: string | null;
  base64: string | null;
  kept_bytes: number;
  total_bytes: number | null;
  cut: string | null;
  verified: boolean | null;
};

export type Replay = {
  verified: boolean;
  truncated: boolean;
  request_head: Part;
  request_body: Part;
  context: Part;
  released_head: Part;
  released_body: Part;
  trailers: Part;
};

export type Fn = {
  id: string;
  connection: string;
  effect: string;
  summary: string | null;
  mask: string;
  classes: string[];
  seen: {
    calls: number;
    last_at: string | null;
    outcomes: Record<string, number>;
    masked: Record<string, number>;
    callers: string[];
    median_ms: number | null;
  };
};

/** How deciding went in the last 30 days. */
export type Figures = {
  function: string;
  asked: number;
  approved: number;
  denied: number;
  expired: number;
  median_decision_ms: number | null;
  granted: number;
  rubber_stamps: number;
};

export type Functions = { functions: Fn[]; unknown: { tried: Json; calls: number; last_at: string }[]; looked_at: number };

export type Policy = {
  id: string;
  effect: string;
  file: string;
  line: number;
  text: string;
  approval: { any_of: string[][]; quorum: number; decide_within_s: number; reason: string | null } | null;
};

export type Policies = { version: string; policies: Policy[]; warnings: string[]; schema: string };

export type Answer = {
  decision: string;
  because: string;
  matched: { id: string; effect: string; place: string; opened: boolean }[];
  failed: string[];
  near_misses: string[];
  evaluated: number;
};

export type Status = {
  version: string;
  instance: string;
  config_version: string;
  connections: {
    name: string;
    route: string;
    origin: string;
    functions: number;
    masked: number;
    credential: string | null;
    hold_s: number;
    /** The last day on which it only observes and enforces nothing; absent where it enforces. */
    observes_until: string | null;
  }[];
  issuers: { alias: string; usable: boolean; reachable: boolean; keys: number; age_s: number | null; last_error: string | null }[];
  recording: {
    admitting: boolean;
    blocked: string | null;
    records: number;
    unsigned: number;
    open_calls: number;
    queued: number;
    last_sync_us: number;
    disk_errors: number;
    lost_events: number;
    free_bytes: number;
  };
  exports: {
    sink: string;
    kind: string;
    next: number;
    behind: number;
    age_s: number;
    parked: number;
    failures: number;
    trouble: string | null;
    alarm: boolean;
  }[];
};

/** A message that nobody tries to deliver any more. */
export type Dead = {
  id: string;
  channel: string;
  approval: string;
  event: string;
  at: string;
  attempts: number;
  dead_since: string;
  failure: string;
};

export type Witness = {
  name: string;
  size: number;
  behind: number;
  signed_ago_s: number | null;
  alarm: string | null;
  last_alarm: string | null;
  last_alarm_ago_s: number | null;
};

export type Chart = {
  from: string;
  step_s: number;
  columns: { outcomes: Record<string, number>; p50_ms: number | null; p95_ms: number | null }[];
  looked_at: number;
  complete: boolean;
};

export type Simulated = {
  draft: string;
  evaluated: number;
  same: number;
  changed: number;
  changes: { function: string; from: string; to: string; decided_by: string[]; draft_decided_by: string[]; calls: number; examples: string[] }[];
  not_evaluated: Record<string, number>;
  complete: boolean;
  took_ms: number;
};

export type LogHead = { origin: string; size: number; root: string; at: string | null; checkpoint: string; key: string; records: number; witnesses: Witness[] };

export type Verified = {
  verdict: string;
  what: string | null;
  first_bad: number | null;
  records: number;
  pruned: number;
  heads: number;
  unsigned: number;
  took_ms: number;
};

/** A refusal, in the API's own words. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** Refusals that another sign-in mends. */
export const SIGN_IN_AGAIN = new Set(["sign_in_again", "insufficient_user_authentication"]);

let csrf: string | null = null;

// A session is over when nobody used it for a while. What a page asks for by itself is no use: only the first request
// after somebody did something says so.
let deed = true;
for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) {
  addEventListener(kind, () => (deed = true), { capture: true, passive: true });
}

export function here(): string {
  return location.pathname + location.search;
}

export function loginUrl(fresh: boolean, acr: string[] = [], maxAge: number | null = null): string {
  const wanted = new URLSearchParams();
  if (fresh) wanted.set("fresh", "1");
  if (acr.length > 0) wanted.set("acr", acr.join(" "));
  if (maxAge !== null) wanted.set("max_age", String(maxAge));
  wanted.set("next", here());
  return `/login?${wanted}`;
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  const headers = new Headers(init.headers);
  if (deed) headers.set("Callgate-Deed", "1");
  deed = false;
  try {
    response = await fetch(`/api/v1${path}`, { credentials: "same-origin", ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, "unreachable", "The gateway cannot be reached. It is asked again by itself.");
  }
  if (response.ok || response.status === 304) return response;
  const problem = await response.json().catch(() => ({}));
  // A rule that asks for a stronger sign-in says so with the same status; that one is offered where it happened.
  if (response.status === 401 && !SIGN_IN_AGAIN.has(problem.code)) {
    location.assign(loginUrl(false));
  }
  throw new Problem(response.status, problem.code ?? "internal", problem.detail ?? `The gateway answered ${response.status}.`);
}

/** Answers by path, with their tags: what is still the same is not sent again, and stays the same object. */
const known = new Map<string, { tag: string; data: unknown }>();
const KNOWN_MAX = 40;

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const before = known.get(path);
  const headers: Record<string, string> = before ? { "If-None-Match": before.tag } : {};
  const response = await ask(path, { signal: signal ?? null, headers });
  if (response.status === 304 && before) return before.data as T;
  const data: T = await response.json();
  const tag = response.headers.get("etag");
  known.delete(path);
  if (tag) known.set(path, { tag, data });
  for (const oldest of known.keys()) {
    if (known.size <= KNOWN_MAX) break;
    known.delete(oldest);
  }
  return data;
}

/** Give the browser a file of the API's to keep. */
export async function save(path: string, name: string): Promise<void> {
  const response = await ask(path, {});
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

export async function me(): Promise<Me> {
  const who = await get<Me>("/me");
  csrf = who.csrf;
  return who;
}

/** A name for one change, so that sent again it is not done again. */
function key(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function unsafe(body: unknown): Record<string, string> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (csrf) headers["Callgate-CSRF"] = csrf;
  return headers;
}

/** Ask a question that needs a body; nothing changes by it. */
export async function query<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const response = await ask(path, { method: "POST", headers: unsafe(body), body: JSON.stringify(body), signal: signal ?? null });
  return response.json();
}

/** Change something, once: when nobody knows whether the request arrived, the same is sent again under its name. */
export async function post<T>(path: string, body?: unknown): Promise<T> {
  const headers = { ...unsafe(body), "Idempotency-Key": key() };
  const send = () => ask(path, { method: "POST", headers, body: body === undefined ? null : JSON.stringify(body) });
  let response: Response;
  try {
    response = await send();
  } catch (error) {
    if (!(error instanceof Problem && error.code === "unreachable")) throw error;
    response = await send();
  }
  return (response.status === 204 ? null : await response.json()) as T;
}

export async function remove(path: string): Promise<void> {
  await ask(path, { method: "DELETE", headers: unsafe(undefined) });
}

/** What went wrong, as a problem. */
export function problemOf(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "internal", String(error));
}

/**
 * Sign out with a form, so that what the gateway answers is what the person sees. Going on to the sign-in would sign
 * them in again by the issuer's own session, and would hide that signing out failed.
 */
export function signOut(): void {
  const form = document.createElement("form");
  form.method = "post";
  form.action = "/logout";
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = "csrf";
  field.value = csrf ?? "";
  form.append(field);
  document.body.append(form);
  form.submit();
}
