import { useRef, useState } from "react";
import { type Approval, loginUrl, type Me, post, Problem, problemOf, type Rule, type Widening } from "./api";
import { useKeys, useNow } from "./hooks";
import { Outcome, Shown, span, Time, Trouble } from "./ui";
import { useWidening, Widen } from "./widen";

/** The gateway's limit of a reason, in bytes of UTF-8. */
const REASON_BYTES_MAX = 2000;

/** One rule that asks: who may open it, who said what, and the answer of whoever looks. */
export function RulePart({ rule, approval, who, decided }: { rule: Rule; approval: Approval; who: Me; decided: () => void }) {
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
      <Votes rule={rule} />
      {approval.head.state === "pending" &&
        !rule.open &&
        (approval.may_decide.includes(rule.hash) ? (
          <>
            <StepUp rule={rule} who={who} />
            <Decide rule={rule} approval={approval} decided={decided} />
          </>
        ) : (
          <p className="soft">You may see this call; others answer this rule.</p>
        ))}
    </section>
  );
}

function Votes({ rule }: { rule: Rule }) {
  if (rule.votes.length === 0) return null;
  return (
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
          {vote.grant && <span className="soft"> by a grant, not on this call itself</span>}
          {vote.voided_at && <span className="soft"> (void)</span>}
        </li>
      ))}
    </ul>
  );
}

/** What kind of sign-in a yes needs, and the way to it. The gateway judges it in any case. */
function StepUp({ rule, who }: { rule: Rule; who: Me }) {
  const now = useNow();
  if (rule.acr.length === 0 && rule.max_age_s === null) return null;
  const age = who.authenticated_at ? now - new Date(who.authenticated_at).getTime() : null;
  const old = rule.max_age_s !== null && (age === null || age > rule.max_age_s * 1000);
  const weak = rule.acr.length > 0 && !(who.acr !== null && rule.acr.includes(who.acr));
  const needs = [
    rule.acr.length > 0 && `of the kind ${rule.acr.map((kind) => `\u201c${kind}\u201d`).join(" or ")}`,
    rule.max_age_s !== null && `at most ${span(rule.max_age_s * 1000)} old`,
  ].filter(Boolean);
  return (
    <p className={old || weak ? "warn" : "soft"}>
      A yes needs a sign-in {needs.join(", ")}.{" "}
      {(old || weak) && (
        <>
          {weak ? (who.acr ? `Yours is of the kind \u201c${who.acr}\u201d.` : "Your issuer does not say of which kind yours is.") : age === null ? "Your issuer does not say when you signed in." : `Yours is ${span(age)} old.`}{" "}
          <a href={loginUrl(true, rule.acr, rule.max_age_s)}>Sign in for this first</a>
        </>
      )}
    </p>
  );
}

function label(widening: Widening | null): string {
  if (!widening) return "Approve this call";
  return `Approve this call and ${widening.uses} later ${widening.uses === 1 ? "one" : "ones"}`;
}

function Decide({ rule, approval, decided }: { rule: Rule; approval: Approval; decided: () => void }) {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [said, setSaid] = useState<{ state: string; grant: string | null } | null>(null);
  const wide = useWidening(rule, approval);
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
      const vote = { rule: rule.hash, verdict, reason, digest: approval.digest };
      const grant = verdict === "yes" ? wide.widening : null;
      setSaid(await post<{ state: string; grant: string | null }>(path, grant ? { ...vote, grant } : vote));
      decided();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  useKeys((key) => {
    // No key decides by itself: it leads to the button, and Enter presses it.
    const button = key === "a" ? "yes" : key === "d" ? "no" : key === "w" ? "wide" : null;
    const found = button && document.getElementById(`${button}-${rule.hash}`);
    found?.focus();
    return Boolean(found);
  });
  if (said) {
    return (
      <p role="status" className="said">
        <Outcome word={said.state} /> Your answer is on the record.{said.grant && " It stands for later calls as well; you can end that under Grants."}
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
      {rule.grant_uses_max !== null && rule.grant_within_max_s !== null && <Widen wide={wide} approval={approval} rule={rule} />}
      {problem && <Trouble problem={problem} login={loginUrl(true, rule.acr, rule.max_age_s)} />}
      <div className="row buttons">
        <button id={`yes-${rule.hash}`} type="button" className="yes" disabled={busy || wide.unclear} onClick={() => void cast("yes")}>
          {label(wide.widening)}
        </button>
        <button id={`no-${rule.hash}`} type="button" className="no" disabled={busy} onClick={() => void cast("no")}>
          Deny it
        </button>
      </div>
    </form>
  );
}
