import { useState } from "react";
import { get, type Grant, type GrantsPage as Page, type Me, type Problem, problemOf, remove } from "./api";
import { go, useData, useLive, useNow, usePlace, useTitle } from "./hooks";
import { Block, Empty, Link, Outcome, Shown, span, Time, Trouble, Waiting } from "./ui";

export function GrantsPage({ who }: { who: Me }) {
  useTitle("Grants");
  const live = useLive();
  const all = usePlace().searchParams.get("all") === "true";
  const { data: answer, problem, reload } = useData<Page | Grant[]>(`/grants?all=${all}`, live.records);
  const data = Array.isArray(answer) ? { grants: answer, next: null } : answer;
  const [older, setOlder] = useState<{ all: boolean; page: Page } | null>(null);
  const [failed, setFailed] = useState<Problem | null>(null);
  const more = older?.all === all ? older.page : null;
  const next = more ? more.next : data?.next;
  const shown = new Set(data?.grants.map((grant) => grant.id));
  const grants = data && [...data.grants, ...(more?.grants ?? []).filter((grant) => !shown.has(grant.id))];
  const ask = () =>
    get<Page>(`/grants?all=${all}&before=${encodeURIComponent(next ?? "")}`).then(
      (page) => setOlder({ all, page: { grants: [...(more?.grants ?? []), ...page.grants], next: page.next } }),
      (error: unknown) => setFailed(problemOf(error)),
    );
  const ended = () => {
    setOlder(null);
    reload();
  };
  return (
    <>
      <div className="head">
        <h1>Grants</h1>
        <label className="follow">
          <input type="checkbox" checked={all} onChange={(event) => go(event.target.checked ? "/grants?all=true" : "/grants", true)} /> also those that ended
        </label>
      </div>
      <p className="soft">A grant is somebody's yes that stands for later calls of one caller to one function, within bounds. It can be ended at any time.</p>
      {(problem ?? failed) && <Trouble problem={(problem ?? failed) as Problem} />}
      {!data && !problem && <Waiting />}
      {grants && grants.length === 0 && !next && (
        <Empty title={all ? "No grants yet" : "No grant stands"}>
          <p>
            When the same question comes again and again, an approver can let a yes stand for the next calls like it. A rule offers that with{" "}
            <code>@grant_uses("20") @grant_within("8h")</code>; without them each call is asked about.
          </p>
        </Empty>
      )}
      {grants && grants.length > 0 && (
        <ul className="cards grants">
          {grants.map((grant) => (
            <li key={grant.id} className="rule">
              <One grant={grant} who={who} ended={ended} />
            </li>
          ))}
        </ul>
      )}
      {next && (
        <button type="button" onClick={() => void ask()}>
          Older ones
        </button>
      )}
    </>
  );
}

function One({ grant, who, ended }: { grant: Grant; who: Me; ended: () => void }) {
  const now = useNow();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const mine = grant.granter === `${who.issuer}/${who.subject}`;
  const end = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await remove(`/grants/${encodeURIComponent(grant.id)}`);
      ended();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <div className="row">
        <h2>{grant.function}</h2>
        <Outcome word={grant.stands ? "stands" : grant.ended_at ? "ended" : grant.used >= grant.uses_max ? "used up" : "past its time"} />
      </div>
      <p>
        <Shown text={grant.caller} /> may call as follows; granted by <Shown text={grant.granter} />, <Time at={grant.at} />, with{" "}
        <Link to={`/?id=${encodeURIComponent(grant.approval)}`}>this approval</Link>.
      </p>
      <Block label={`calls that the grant for ${grant.function} covers`} text={grant.pattern.join("\n")} />
      <div className="row">
        <span className="soft">
          <Uses used={grant.used} most={grant.uses_max} />{" "}
          {grant.stands ? (
            `${span(new Date(grant.until).getTime() - now)} left`
          ) : grant.ended_at ? (
            <>
              ended <Time at={grant.ended_at} />
              {grant.ended_by && (
                <>
                  {" by "}
                  <Shown text={grant.ended_by} />
                </>
              )}
            </>
          ) : (
            <>
              until <Time at={grant.until} />
            </>
          )}
        </span>
        {grant.stands && (mine || who.rights.includes("revoke")) && (
          <button type="button" className="no" disabled={busy} onClick={() => void end()}>
            End it
          </button>
        )}
      </div>
      {problem && <Trouble problem={problem} />}
    </>
  );
}

function Uses({ used, most }: { used: number; most: number }) {
  return (
    <>
      <meter min={0} max={most} value={used} aria-label={`${used} of ${most} calls used`} /> {used} of {most} calls used;
    </>
  );
}
