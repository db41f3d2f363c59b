// What the console asks the gateway, and the shapes of its answers: `/api/v1/openapi.json` describes them.

export type Me = {
  issuer: string;
  subject: string;
  name: string | null;
  groups: string[];
  rights: string[];
  authenticated_at: string | null;
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

export type Vote = { issuer: string; subject: string; verdict: string; reason: string; at: string; voided_at: string | null };

export type Rule = {
  id: string;
  hash: string;
  any_of: string[][];
  quorum: number;
  reason: string | null;
  open: boolean;
  votes: Vote[];
};

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export type Head = { method?: string; target?: string; status?: number; headers?: [string, string][] };

export type Approval = {
  head: ApprovalHead;
  digest: string;
  call: string;
  summary: { request?: Head; body?: { text?: string; hex?: string } | null; input?: Json } | null;
  frozen_bytes: number;
  rules: Rule[];
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
};

export type LogHead = { origin: string; size: number; root: string; at: string | null; checkpoint: string; key: string; records: number };

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

export function loginUrl(fresh: boolean): string {
  return `/login?${fresh ? "fresh=1&" : ""}next=${encodeURIComponent(here())}`;
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
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  // A rule that asks for a stronger sign-in says so with the same status; that one is offered where it happened.
  if (response.status === 401 && !SIGN_IN_AGAIN.has(problem.code)) {
    location.assign(loginUrl(false));
  }
  throw new Problem(response.status, problem.code ?? "internal", problem.detail ?? `The gateway answered ${response.status}.`);
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await ask(path, { signal: signal ?? null });
  return response.json();
}

export async function text(path: string): Promise<string> {
  const response = await ask(path, {});
  return response.text();
}

export async function me(): Promise<Me> {
  const who = await get<Me>("/me");
  csrf = who.csrf;
  return who;
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (csrf) headers["Callgate-CSRF"] = csrf;
  const response = await ask(path, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
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
