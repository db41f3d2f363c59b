import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { get, type Problem, problemOf } from "./api";

// Where we are.

const moved = new EventTarget();

export function go(to: string, replace = false): void {
  history[replace ? "replaceState" : "pushState"](null, "", to);
  moved.dispatchEvent(new Event("moved"));
}

function watchPlace(changed: () => void): () => void {
  moved.addEventListener("moved", changed);
  window.addEventListener("popstate", changed);
  return () => {
    moved.removeEventListener("moved", changed);
    window.removeEventListener("popstate", changed);
  };
}

export function usePlace(): URL {
  const href = useSyncExternalStore(watchPlace, () => location.href);
  return new URL(href);
}

// What goes on: one stream for all of the page. It says that something happened; each view asks what.

type Live = { records: number; connected: boolean };
let live: Live = { records: 0, connected: false };
const listeners = new Set<() => void>();
let stream: EventSource | null = null;
let retry: ReturnType<typeof setTimeout> | undefined;

function tell(next: Live): void {
  live = next;
  for (const listener of listeners) listener();
}

function follow(): void {
  stream = new EventSource("/api/v1/live");
  stream.addEventListener("change", (event) => tell({ records: Number(event.lastEventId), connected: true }));
  stream.onopen = () => tell({ ...live, connected: true });
  stream.onerror = () => {
    tell({ ...live, connected: false });
    // The browser tries again by itself, except after a refusal.
    if (stream?.readyState === EventSource.CLOSED) {
      clearTimeout(retry);
      retry = setTimeout(follow, 5000);
    }
  };
}

function watchLive(changed: () => void): () => void {
  listeners.add(changed);
  if (!stream) follow();
  return () => listeners.delete(changed);
}

export function useLive(): Live {
  return useSyncExternalStore(watchLive, () => live);
}

// Data that is asked for, kept while it is asked for again.

export type Loaded<T> = { data: T | undefined; problem: Problem | undefined; reload: () => void };

export function useData<T>(path: string | null, tick: number = 0): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; problem?: Problem }>({ path: null });
  const [again, setAgain] = useState(0);
  const last = useRef(0);
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    // A burst of changes is one question.
    const since = Date.now() - last.current;
    const wait = Math.max(0, Math.min(400, 400 - since));
    const timer = setTimeout(() => {
      last.current = Date.now();
      get<T>(path, stop.signal).then(
        (data) => setState({ path, data }),
        (problem: unknown) => {
          if (stop.signal.aborted) return;
          const known = problemOf(problem);
          setState((before) => (before.path === path && before.data !== undefined ? { ...before, problem: known } : { path, problem: known }));
        },
      );
    }, wait);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [path, tick, again]);
  const reload = useCallback(() => setAgain((n) => n + 1), []);
  const mine = state.path === path;
  return { data: mine ? state.data : undefined, problem: mine ? state.problem : undefined, reload };
}

/** A value that changes often, taken over once in a while: for what is costly to ask again. */
export function useSlowly(value: number, ms: number): number {
  const [held, setHeld] = useState(value);
  const taken = useRef(0);
  useEffect(() => {
    if (value === held) return;
    const take = () => {
      taken.current = Date.now();
      setHeld(value);
    };
    const timer = setTimeout(take, Math.max(0, taken.current + ms - Date.now()));
    return () => clearTimeout(timer);
  }, [value, held, ms]);
  return held;
}

/** The time, once a second: for what runs out. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** Keys of the page: not while somebody writes, and none that the browser means. `act` says whether the key was its. */
export function useKeys(act: (key: string) => boolean): void {
  const latest = useRef(act);
  useEffect(() => {
    latest.current = act;
  });
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const writes = /^(TEXTAREA|SELECT)$/.test(target.tagName) || (target instanceof HTMLInputElement && target.type !== "checkbox");
      if (event.metaKey || event.ctrlKey || event.altKey || writes || target.closest("dialog")) return;
      if (latest.current(event.key)) event.preventDefault();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Callgate`;
  }, [title]);
}
