import { useEffect, useRef, useState } from "react";
import type { ApprovalHead, Me } from "./api";
import { Detail } from "./approval";
import { go, type Loaded, useKeys, useNow, usePlace, useTitle } from "./hooks";
import type { Pending } from "./main";
import { Effect, Empty, Link, Shown, span, Trouble, Waiting } from "./ui";

export function InboxPage({ pending, who }: { pending: Loaded<Pending>; who: Me }) {
  useTitle("Inbox");
  const place = usePlace();
  const heads = pending.data?.approvals ?? [];
  const chosen = place.searchParams.get("id");
  const at = heads.findIndex((head) => head.id === chosen);
  const [help, setHelp] = useState(false);
  const choose = (id: string | null) => go(id ? `/?id=${encodeURIComponent(id)}` : "/", true);

  useKeys((key) => {
    const step = key === "j" ? 1 : key === "k" ? -1 : 0;
    if (step !== 0 && heads.length > 0) {
      const next = heads[Math.min(heads.length - 1, Math.max(0, at + step))];
      if (next) choose(next.id);
      return true;
    }
    if (key === "?") {
      setHelp(true);
      return true;
    }
    if (key === "Escape") choose(null);
    return false;
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
        <p className="keys soft">
          <button type="button" className="quiet" onClick={() => setHelp(true)}>
            Keys
          </button>{" "}
          <kbd>?</kbd>
        </p>
      </section>
      {chosen && <Detail id={chosen} key={chosen} who={who} decided={pending.reload} close={() => choose(null)} />}
      {help && <Help close={() => setHelp(false)} />}
    </div>
  );
}

const KEYS: [keys: string[], what: string][] = [
  [["j"], "the next call that waits"],
  [["k"], "the one before"],
  [["a"], "go to Approve; Enter presses it"],
  [["d"], "go to Deny; Enter presses it"],
  [["w"], "let the yes stand for later calls, where the rule offers it"],
  [["Esc"], "close"],
  [["?"], "this list"],
];

function Help({ close }: { close: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    box.current?.showModal();
  }, []);
  return (
    <dialog ref={box} className="help" aria-labelledby="help-title" onClose={close}>
      <h2 id="help-title">Keys</h2>
      <dl>
        {KEYS.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p className="soft">No key decides by itself.</p>
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
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
