import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { type ApprovalHead, me as askMe, type Me, type Problem, problemOf, signOut } from "./api";
import { AuditPage } from "./audit";
import { CallPage } from "./call";
import { CallsPage } from "./calls";
import { ConnectionsPage } from "./connections";
import { FunctionsPage } from "./functions";
import { GrantsPage } from "./grants";
import { useData, useLive, usePlace } from "./hooks";
import { InboxPage } from "./inbox";
import { PoliciesPage } from "./policies";
import { Link, Trouble } from "./ui";

export type Pending = { approvals: ApprovalHead[] };

const VIEWS: [path: string, name: string, right: string | null][] = [
  ["/", "Inbox", null],
  ["/grants", "Grants", null],
  ["/calls", "Calls", "audit.read"],
  ["/functions", "Functions", "audit.read"],
  ["/policies", "Policies", "policy.read"],
  ["/connections", "Connections", "audit.read"],
  ["/audit", "Audit log", "audit.read"],
];

function View({ path, who, pending }: { path: string; who: Me; pending: ReturnType<typeof useData<Pending>> }) {
  const call = /^\/calls\/([0-9a-f-]+)$/.exec(path)?.[1];
  if (call) return <CallPage id={call} key={call} />;
  switch (path) {
    case "/grants":
      return <GrantsPage who={who} />;
    case "/calls":
      return <CallsPage />;
    case "/functions":
      return <FunctionsPage who={who} />;
    case "/policies":
      return <PoliciesPage who={who} />;
    case "/connections":
      return <ConnectionsPage />;
    case "/audit":
      return <AuditPage who={who} />;
    default:
      return <InboxPage pending={pending} who={who} />;
  }
}

function Frame({ who }: { who: Me }) {
  const place = usePlace();
  const live = useLive();
  const pending = useData<Pending>("/approvals?state=pending", live.records);
  const waiting = pending.data?.approvals.length ?? 0;
  const path = place.pathname;
  const inside = (view: string) => (view === "/" ? path === "/" : path === view || path.startsWith(`${view}/`));
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="side">
        <div className="brand">
          <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
            <path d="M5 21V10a7 7 0 0 1 14 0v11M12 9v12" />
          </svg>
          <span>Callgate</span>
        </div>
        <nav aria-label="Views">
          {VIEWS.filter(([, , right]) => right === null || who.rights.includes(right)).map(([view, name]) => (
            <Link key={view} to={view} current={inside(view)}>
              {name}
              {view === "/" && waiting > 0 && <span className="count">{waiting}</span>}
            </Link>
          ))}
        </nav>
        <div className="who">
          <span className={live.connected ? "link on" : "link"} role="status">
            {live.connected ? "live" : "connecting…"}
          </span>
          <span className="name" title={`${who.issuer}/${who.subject}`}>
            {who.name ?? who.subject}
          </span>
          {who.csrf && (
            <button type="button" className="quiet" onClick={signOut}>
              Sign out
            </button>
          )}
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <View path={path} who={who} pending={pending} />
      </main>
    </>
  );
}

function Console() {
  const [who, setWho] = useState<Me | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const ask = () =>
      askMe().then(setWho, (error: unknown) => {
        const known = problemOf(error);
        // A way to sign in opens by itself.
        if (known.status === 401) return;
        setProblem(known);
        timer = setTimeout(ask, 5000);
      });
    void ask();
    return () => clearTimeout(timer);
  }, []);
  if (who) return <Frame who={who} />;
  return <main className="first">{problem ? <Trouble problem={problem} /> : <p className="soft">One moment…</p>}</main>;
}

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Console />
    </StrictMode>,
  );
}
