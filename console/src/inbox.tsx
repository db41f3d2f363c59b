import { useEffect, useRef, useState } from "react";
import { type Approval, type ApprovalHead, type CallsPage, type Me, post, Problem, type Rule } from "./api";
import { go, type Loaded, useData, useLive, useNow, usePlace, useTitle } from "./hooks";
import type { Pending } from "./main";
import { Block, bytes, Effect, Empty, Facts, Link, Outcome, readable, RequestHead, Shown, span, Time, Trouble, Waiting } from "./ui";

/** The gateway's limit of a reason, in bytes of UTF-8. */
const REASON_BYTES_MAX = 2000;

export function InboxPage({ pending, who }: { pending: Loaded<Pending>; who: Me }) {
  useTitle("Inbox");
  const place = usePlace();
  const heads = pending.data?.approvals ?? [];
  const asked = place.searchParams.get("id");
  const at = heads.findIndex((head) => head.id === asked);
  const chosen = asked ?? null;
  const choose = (id: string | null) => go(id ? `/?id=${encodeURIComponent(id)}` : "/", true);

  useEffect(() => {
    const keys = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.metaKey || event.ctrlKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      const step = event.key === "j" ? 1 : event.key === "k" ? -1 : 0;
      if (step !== 0 && heads.length > 0) {
        const next = heads[Math.min(heads.length - 1, Math.max(0, at + step))];
        if (next) choose(next.id);
        event.preventDefault();
      }
      if (event.key === "Escape") choose(null);
    };
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  });

  return (
    <div className={chosen ? "inbox open" : "inbox"}>
      <section className="list" aria-label="Waiting for a decision">
        <h1>
          Inbox <span className="soft">{pending.data ? heads.length : ""}</span>
        </h1>
        {pending.problem && <Trouble problem={pending.problem} />}
        {!pending.data && !pending.problem && <Waiting />}
        {pending.data && heads.length === 0 && (
          <Empty title="Nothing waits for you">
            <p>A call that an approval rule holds appears here as it arrives; you see exactly what would be sent, and it runs only when enough people say yes.</p>
            <p>
              A rule that holds calls looks like this: <code>@approval("group") forbid (…) when {"{ … }"};</code>
            </p>
          </Empty>
        )}
        <ul className="cards" aria-live="polite">
          {heads.map((head) => (
            <li key={head.id}>
              <Card head={head} current={head.id === chosen} />
            </li>
          ))}
        </ul>
        {heads.length > 0 && (
          <p className="keys soft">
            <kbd>j</kbd> <kbd>k</kbd> move · <kbd>a</kbd> approve · <kbd>d</kbd> deny · <kbd>esc</kbd> close
          </p>
        )}
      </section>
      {chosen && <Detail id={chosen} key={chosen} who={who} decided={pending.reload} close={() => choose(null)} />}
    </div>
  );
}

function Card({ head, current }: { head: ApprovalHead; current: boolean }) {
  const now = useNow();
  const left = new Date(head.expires_at).getTime() - now;
  return (
    <Link to={`/?id=${encodeURIComponent(head.id)}`} className="card" current={current}>
      <span className="row">
        <strong>{head.function}</strong>
        <Effect effect={head.effect} />
      </span>
      <span className="row soft">
        <span>
          <Shown text={`${head.requester.issuer}/${head.requester.subject}`} /> · {head.requester.kind}
        </span>
        <span className={left < 120_000 ? "urgent" : undefined}>{span(left)} left</span>
      </span>
    </Link>
  );
}

function Detail({ id, who, decided, close }: { id: string; who: Me; decided: () => void; close: () => void }) {
  const live = useLive();
  const { data, problem, reload } = useData<Approval>(`/approvals/${encodeURIComponent(id)}`, live.records);
  const title = useRef<HTMLHeadingElement>(null);
  const there = data !== undefined;
  useEffect(() => {
    if (there) title.current?.focus({ preventScroll: true });
  }, [there]);
  return (
    <section className="detail" aria-label="What is asked">
      <button type="button" className="quiet back" onClick={close}>
        ← All that wait
      </button>
      {problem && <Trouble problem={problem} />}
      {data && (
        <>
          <h1 ref={title} tabIndex={-1}>
            {data.head.function} <Effect effect={data.head.effect} />
          </h1>
          <Facts
            facts={[
              ["state", <Outcome word={data.head.state} detail={data.head.cause} />],
              ["asked by", <Shown text={`${data.head.requester.issuer}/${data.head.requester.subject} (${data.head.requester.kind})`} />],
              ...(data.head.requester.actors.length > 0
                ? ([["acted for by", <Shown text={data.head.requester.actors.join(" ← ")} />]] as [string, React.ReactNode][])
                : []),
              ["asked", <Time at={data.head.asked_at} />],
              ["call", who.rights.includes("audit.read") ? <Link to={`/calls/${data.call}`}>{data.call}</Link> : <code>{data.call}</code>],
            ]}
          />
          <h2>What will be sent</h2>
          {data.summary?.request && <RequestHead head={data.summary.request} />}
          <Body summary={data.summary} />
          {data.rules.map((rule) => (
            <RulePart key={rule.hash} rule={rule} approval={data} decided={() => (reload(), decided())} />
          ))}
          {who.rights.includes("audit.read") && <Recent head={data.head} call={data.call} />}
        </>
      )}
    </section>
  );
}

function Body({ summary }: { summary: Approval["summary"] }) {
  if (!summary) return <p className="soft">The call has ended; its content is in the audit record.</p>;
  const body = summary.body;
  if (!body) return <p className="soft">Without a body.</p>;
  if (body.text !== undefined) return <Block label="request body" text={readable(body.text)} />;
  return (
    <>
      <p className="soft">{bytes((body.hex ?? "").length / 2)} that are no text, hexadecimal:</p>
      <Block label="request body, hexadecimal" text={body.hex ?? ""} />
    </>
  );
}

function RulePart({ rule, approval, decided }: { rule: Rule; approval: Approval; decided: () => void }) {
  const groups = rule.any_of.map((all) => all.join(" and ")).join(", or ");
  const yes = rule.votes.filter((vote) => vote.verdict === "yes" && !vote.voided_at).length;
  return (
    <section className="rule" aria-label={`Rule ${rule.id}`}>
      <h2>
        {rule.id} <Outcome word={rule.open ? "approved" : approval.head.state} />
      </h2>
      {rule.reason && <p className="reason">{rule.reason}</p>}
      <p className="soft">
        {rule.quorum} of {groups}; {yes} said yes
      </p>
      {rule.votes.length > 0 && (
        <ul className="votes">
          {rule.votes.map((vote) => (
            <li key={vote.at + vote.subject}>
              <Outcome word={vote.verdict} /> {vote.issuer}/{vote.subject} <Time at={vote.at} />
              {vote.reason && (
                <>
                  {" "}
                  “<Shown text={vote.reason} />”
                </>
              )}
              {vote.voided_at && <span className="soft"> (void)</span>}
            </li>
          ))}
        </ul>
      )}
      {approval.head.state === "pending" &&
        !rule.open &&
        (approval.may_decide.includes(rule.hash) ? (
          <Decide rule={rule} approval={approval} decided={decided} />
        ) : (
          <p className="soft">You may see this call; others answer this rule.</p>
        ))}
    </section>
  );
}

function Decide({ rule, approval, decided }: { rule: Rule; approval: Approval; decided: () => void }) {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [said, setSaid] = useState<string | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const over = new TextEncoder().encode(reason).length - REASON_BYTES_MAX;
  const cast = async (verdict: "yes" | "no") => {
    if (busy) return;
    if (over > 0) {
      area.current?.focus();
      return;
    }
    if (verdict === "no" && reason.trim() === "") {
      area.current?.focus();
      setProblem(new Problem(0, "reason", "Say why: the caller reads it."));
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      const path = `/approvals/${encodeURIComponent(approval.head.id)}/votes`;
      const answer = await post<{ state: string }>(path, { rule: rule.hash, verdict, reason, digest: approval.digest });
      setSaid(answer.state);
      decided();
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "internal", String(error)));
    } finally {
      setBusy(false);
    }
  };
  useEffect(() => {
    const keys = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.metaKey || event.ctrlKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      // No key decides by itself: it leads to the button, and Enter presses it.
      const button = event.key === "a" ? "yes" : event.key === "d" ? "no" : null;
      if (button) {
        document.getElementById(`${button}-${rule.hash}`)?.focus();
        event.preventDefault();
      }
    };
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  }, [rule.hash]);
  if (said) {
    return (
      <p role="status" className="said">
        <Outcome word={said} /> Your answer is on the record.
      </p>
    );
  }
  return (
    <form className="decide" onSubmit={(event) => event.preventDefault()}>
      <label htmlFor={`why-${rule.hash}`}>Why (for the record; on a no the caller reads it)</label>
      <textarea id={`why-${rule.hash}`} ref={area} rows={2} value={reason} aria-invalid={over > 0} aria-describedby={`long-${rule.hash}`} onChange={(event) => setReason(event.target.value)} />
      <p id={`long-${rule.hash}`} className="bad" role="status">
        {over > 0 && `Too long by ${over} bytes: at most ${REASON_BYTES_MAX} are kept, and a letter beyond plain English takes two to four. Nothing is sent until it is shorter.`}
      </p>
      {problem && <Trouble problem={problem} />}
      <div className="row buttons">
        <button id={`yes-${rule.hash}`} type="button" className="yes" disabled={busy} onClick={() => void cast("yes")}>
          Approve this call
        </button>
        <button id={`no-${rule.hash}`} type="button" className="no" disabled={busy} onClick={() => void cast("no")}>
          Deny it
        </button>
      </div>
    </form>
  );
}

function Recent({ head, call }: { head: ApprovalHead; call: string }) {
  const principal = encodeURIComponent(`${head.requester.issuer}/${head.requester.subject}`);
  const { data } = useData<CallsPage>(`/calls?limit=6&principal=${principal}`);
  const others = data?.calls.filter((one) => one.call !== call).slice(0, 5) ?? [];
  return (
    <>
      <h2>This caller's last calls</h2>
      {data && others.length === 0 && <p className="soft">None but this one.</p>}
      <ul className="recent">
        {others.map((one) => (
          <li key={one.call}>
            <Link to={`/calls/${one.call}`}>{one.function ?? "unknown function"}</Link> <Outcome word={one.outcome} /> <Time at={one.at} />
          </li>
        ))}
      </ul>
    </>
  );
}
