// A person at the console, in a real browser: decides a held call, opens its record, verifies it, asks the playground;
// and decides another one on a phone without JavaScript. Prints one line of JSON; any surprise ends it with an error.
// Argument: JSON with `console`, `gateway`, `functions` (addresses), `token` (of the caller), `shots` (folder or null).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const at = JSON.parse(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LONG = 60_000;
/** Views that are judged, and of which the guide needs no picture. */
const UNKEPT = new Set(["inbox-empty", "connections", "approve-list", "keys", "grants-none", "step-up"]);
const profile = mkdtempSync(join(tmpdir(), "callgate-browser-"));
const problems = [];
/** Refusals that the story causes on purpose, each once: the browser tells them as errors. */
const refusals = [];
const seen = {};

const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  viewport: { width: 1280, height: 800 },
});
context.setDefaultTimeout(LONG);

/** Call the function that people must allow; the answer comes when they have decided. */
function ask(amount, reason = "damaged") {
  return fetch(`${at.gateway}/payments/refunds`, {
    method: "POST",
    headers: { authorization: `Bearer ${at.token}`, "content-type": "application/json" },
    body: JSON.stringify({ order: "o-2", amount, reason }),
  });
}

async function executions() {
  const answer = await fetch(`${at.functions}/executions`);
  return (await answer.json()).createRefund ?? 0;
}

function must(holds, what) {
  if (!holds) throw new Error(what);
}

async function look(page, name) {
  const found = await page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] })`);
  for (const one of found.violations) {
    if (one.impact === "serious" || one.impact === "critical") {
      problems.push(`${name}: ${one.id}: ${one.help}: ${one.nodes[0]?.html}`);
    }
  }
  if (at.shots && !UNKEPT.has(name)) await page.screenshot({ path: join(at.shots, `console-${name}.png`), animations: "disabled" });
}

/** See that it ran so many times since `before`, and that its caller got the answer. */
async function ran(answer, before, times) {
  const given = await answer;
  must(given.status === 201, `the caller got ${given.status}: ${await given.text()}`);
  const now = await executions();
  must(now === before + times, `it ran ${now - before} times instead of ${times}`);
}

async function signIn(page) {
  await page.goto(`${at.console}/login`);
  await page.getByRole("button", { name: "Bob Okafor" }).click();
}

async function desk() {
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(`script: ${error.message}`));
  page.on("console", (message) => {
    // The issuer's page is not ours to judge.
    const ours = message.location().url.startsWith(at.console);
    if (message.type() !== "error" || !ours) return;
    const expected = refusals.findIndex((one) => message.text().includes(`status of ${one.status} `) && message.location().url.endsWith(one.path));
    if (expected >= 0) refusals.splice(expected, 1);
    else problems.push(`console: ${message.text()} ${message.location().url}`);
  });
  await signIn(page);
  await page.getByText("Nothing waits for you").waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  seen.bytes = await page.evaluate(
    "performance.getEntriesByType('resource').filter((e) => e.name.includes('/assets/')).reduce((n, e) => n + e.transferSize, 0)",
  );
  await look(page, "inbox-empty");

  // A held call arrives by itself; the keyboard leads to it and to the button.
  const answer = ask(25_000);
  await page.locator(".card").waitFor();
  await page.keyboard.press("j");
  await page.getByLabel("request body").getByText("25000").waitFor();
  await look(page, "inbox");
  must((await executions()) === 0, "it ran before anybody decided");
  // The gateway's limit of a reason is in bytes: 1001 letters of two are too long.
  await page.getByLabel("Why (for the record").fill("ü".repeat(1001));
  await page.getByRole("button", { name: "Approve this call" }).click();
  await page.getByText("Too long by 2 bytes").waitFor();
  must((await executions()) === 0, "a reason that is too long was sent");
  await page.getByLabel("Why (for the record").fill("seen the parcel");
  await page.getByRole("heading", { name: "What will be sent" }).click();
  await page.keyboard.press("a");
  await page.keyboard.press("Enter");
  await page.getByText("Your answer is on the record").or(page.getByText("approved").first()).first().waitFor();
  const given = await answer;
  must(given.status === 201, `the caller got ${given.status}`);
  must((await executions()) === 1, "it ran not exactly once");

  await widened(page);
  await steppedUp(page);

  // Its record.
  const call = given.headers.get("callgate-call");
  await page.goto(`${at.console}/calls`);
  await page.locator(`a[href="/calls/${call}"]`).waitFor();
  await page.getByRole("img", { name: "Calls by outcome over time" }).waitFor();
  await page.getByRole("img", { name: "How long calls took over time" }).waitFor();
  await look(page, "calls");
  await page.locator(`a[href="/calls/${call}"]`).click();
  await page.getByText("allow by demo/bob: seen the parcel").waitFor();
  // The head comes within a second; a page that was quicker is read again, as a person would.
  const covered = page.getByText("Covered by the signed head");
  for (let tries = 0; tries < 20 && !(await covered.isVisible()); tries += 1) {
    await page.waitForTimeout(1000);
    await page.reload();
    await page.getByText("allow by demo/bob: seen the parcel").waitFor();
  }
  await covered.waitFor();
  await page.getByRole("button", { name: "Replay" }).click();
  await page.getByText("What is shown matches its commitments").waitFor();
  await look(page, "call");

  await page.getByRole("link", { name: "Audit log" }).click();
  await page.getByRole("button", { name: "Verify the whole log" }).click();
  await page.locator(".said").getByText("intact").waitFor();
  await page.getByText("Nobody outside watches this log").waitFor();
  await page.getByText("Records stay here").waitFor();
  await look(page, "audit");

  await page.getByRole("link", { name: "Policies" }).click();
  await page.getByLabel("Function").selectOption("payments/createRefund");
  await page.getByLabel("Input").fill('{ "body": { "order": "o-1", "amount": 50000 } }');
  await page.getByRole("button", { name: "Decide" }).click();
  await page.locator(".answer").getByText("large-refunds-need-a-lead").first().waitFor();
  await look(page, "policies");
  await simulated(page);

  await page.getByRole("link", { name: "Functions" }).click();
  await page.getByRole("region", { name: "Functions" }).getByRole("rowheader", { name: /payments\/createRefund/ }).waitFor();
  // Four questions were opened: three by bob, one by his grant.
  const deciding = page.getByRole("region", { name: "How deciding goes" });
  await deciding.getByText("4 yes, 0 no, 0 too late").waitFor();
  await deciding.getByRole("cell", { name: "25 %" }).first().waitFor();
  await look(page, "functions");
  await page.getByRole("link", { name: "Connections" }).click();
  await page.getByRole("rowheader", { name: "payments" }).waitFor();
  await look(page, "connections");
  await page.emulateMedia({ colorScheme: "dark" });
  await look(page, "connections-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(`${at.console}/calls`);
  await page.locator(`a[href="/calls/${call}"]`).waitFor();
  await look(page, "calls-phone");
  await page.goto(`${at.console}/approve`);
  await look(page, "approve-list");

  await page.setViewportSize({ width: 1280, height: 800 });
  await manyRows(page);

  // Signing out ends on the gateway's own word for it, and the session is over.
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(`${at.console}/calls`);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Signed out" }).waitFor();
  must(new URL(page.url()).pathname === "/logout", `signing out led to ${page.url()}`);
  await page.close();
  const without = await context.request.get(`${at.console}/api/v1/me`);
  must(without.status() === 401, `after signing out the session answers ${without.status()}`);
}

/** The same question again: what differs is shown, and the yes is widened; the next one asks nobody. */
async function widened(page) {
  const before = await executions();
  // A character that would turn what follows around.
  const reason = "dam\u202eaged";
  await page.goto(`${at.console}/`);
  await page.getByText("live", { exact: true }).waitFor();
  const answer = ask(26_000, reason);
  await page.locator(".card").waitFor();
  await page.keyboard.press("j");
  const differs = page.getByRole("region", { name: "Differences" });
  await differs.getByRole("row", { name: "body.amount 25000 26000" }).waitFor();
  await differs.getByRole("cell", { name: "\\u{202e}" }).waitFor();
  await page.getByText(/characters? of this call would not show/).waitFor();
  await page.getByRole("heading", { name: "This caller's last calls" }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await look(page, "keys");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("w");
  await page.keyboard.press("Space");
  await page.getByLabel("Calls (1 to 20)").fill("2");
  await page.getByLabel("body.amount").selectOption("at-most");
  refusals.push({ status: 422, path: "/pattern" });
  await page.getByLabel("At most", { exact: true }).fill("1");
  await page.getByText("must be a number with at most four digits behind the point").waitFor();
  must(await page.getByRole("button", { name: "Approve this call and 2 later ones" }).isDisabled(), "a grant was offered that cannot be given");
  await page.getByLabel("At most", { exact: true }).fill("30000");
  await page.getByLabel("later calls that it covers").getByText("30000").waitFor();
  await look(page, "widen");
  await page.getByRole("button", { name: "Approve this call and 2 later ones" }).click();
  await page.getByText("It stands for later calls as well").or(page.getByText("approved").first()).first().waitFor();
  await ran(answer, before, 1);
  await ran(ask(29_000, reason), before, 2);

  await page.getByRole("link", { name: "Grants" }).click();
  await page.getByText("1 of 2 calls used").waitFor();
  await look(page, "grants");
  await page.getByRole("button", { name: "End it" }).click();
  await page.getByText("No grant stands").waitFor();
  await look(page, "grants-none");
  await page.getByLabel("also those that ended").check();
  await page.getByText("by demo/bob", { exact: false }).first().waitFor();
}

/** A hundred thousand calls: only the rows that are seen are in the page, at every place of the list. */
async function manyRows(page) {
  const all = 100_000;
  const step = 5_000;
  const row = (n) => ({
    call: `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`, at: new Date(1_700_000_000_000 - n * 1000).toISOString(),
    function: "payments/listOrders", issuer: "demo", subject: `caller-${n}`, subject_ref: "", principal_kind: "workload", outcome: n % 7 ? "ok" : "denied",
    reason: null, status: 200, approval: null, masked: n % 3 ? {} : { email: 2 }, total_ms: n % 90, tried: null,
  });
  await page.route(/\/api\/v1\/calls\?/, (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get("cursor") ?? 0);
    const to = Math.min(all, from + step);
    const calls = Array.from({ length: to - from }, (_, at) => row(from + at));
    return route.fulfill({ json: { calls, next: to < all ? String(to) : null } });
  });
  await page.goto(`${at.console}/calls`);
  const list = page.getByRole("region", { name: "Recorded calls, newest first" });
  await list.getByText("demo/caller-0", { exact: true }).waitFor();
  const told = await list.evaluate(async (box, all) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const rows = () => box.querySelectorAll("li");
    const begun = performance.now();
    while (Number(rows()[0]?.getAttribute("aria-setsize")) < all) {
      if (performance.now() - begun > 120_000) throw new Error(`only ${rows()[0]?.getAttribute("aria-setsize")} rows came`);
      box.scrollTop = box.scrollHeight;
      await frame();
    }
    const loaded = performance.now() - begun;
    const frames = [];
    let most = 0;
    for (let step = 0; step <= 120; step += 1) {
      const start = performance.now();
      box.scrollTop = (box.scrollHeight - box.clientHeight) * (step / 120);
      await frame();
      await frame();
      frames.push((performance.now() - start) / 2);
      most = Math.max(most, rows().length);
    }
    frames.sort((a, b) => a - b);
    const last = rows()[rows().length - 1];
    return { rows: all, in_page_most: most, loaded_ms: Math.round(loaded), frame_p50_ms: +frames[60].toFixed(1), frame_p95_ms: +frames[114].toFixed(1), last: last?.textContent };
  }, all);
  must(told.in_page_most <= 80, `${told.in_page_most} rows are in the page at once`);
  must(told.last?.includes(`caller-${all - 1}`), `the list ends with ${told.last}`);
  delete told.last;
  seen.rows = told;
  await page.unroute(/\/api\/v1\/calls\?/);
}

/** A draft against what happened: a smaller limit would have asked about more. */
async function simulated(page) {
  await page.locator("summary").filter({ hasText: "large-refunds-need-a-lead" }).click();
  await page.getByRole("button", { name: "Change it in a draft" }).click();
  const text = page.getByLabel("Policies of the draft");
  const before = await text.inputValue();
  must(before.includes("amount > 10000"), `the draft begins with ${before}`);
  await text.fill(before.replace("amount > 10000", "amount > 28000"));
  await page.getByRole("button", { name: "Simulate", exact: true }).click();
  const told = page.getByRole("region", { name: "Simulate a draft" });
  await told.getByText("would be decided differently").waitFor();
  await told.getByText("ask", { exact: true }).first().waitFor();
  await look(page, "simulate");
  refusals.push({ status: 422, path: "/policies/simulate" });
  await text.fill(`${before}nonsense`);
  await page.getByRole("button", { name: "Simulate", exact: true }).click();
  await told.getByRole("alert").getByText("draft:").waitFor();
}

/** A rule that wants a stronger sign-in leads to one, and back to the question. */
async function steppedUp(page) {
  const before = await executions();
  await page.getByRole("link", { name: "Inbox" }).click();
  const answer = ask(2_000_000);
  await page.locator(".card").waitFor();
  await page.keyboard.press("j");
  const strong = page.getByRole("region", { name: "Rule very-large-refunds-need-a-key" });
  await strong.getByText("A yes needs a sign-in of the kind").waitFor();
  await look(page, "step-up");
  // Without it the gateway says no, whatever a page shows.
  refusals.push({ status: 401, path: "/votes" });
  await strong.getByRole("button", { name: "Approve this call" }).click();
  await strong.getByRole("alert").getByRole("link", { name: "Sign in again" }).waitFor();
  await strong.getByRole("link", { name: "Sign in for this first" }).click();
  await page.getByRole("button", { name: "Bob Okafor" }).click();
  await strong.getByRole("button", { name: "Approve this call" }).waitFor();
  must((await strong.getByRole("link", { name: "Sign in for this first" }).count()) === 0, "the stronger sign-in is not seen");
  await strong.getByRole("button", { name: "Approve this call" }).click();
  await strong.getByText("Your answer is on the record").or(strong.getByText("approved").first()).first().waitFor();
  must((await executions()) === before, "one rule of two was enough");
  await page.getByRole("region", { name: "Rule large-refunds-need-a-lead" }).getByRole("button", { name: "Approve this call" }).click();
  await ran(answer, before, 1);
}

async function phone() {
  const without = await context.browser()?.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  const browser = without ? null : await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  const context2 = without ?? (await browser.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } }));
  context2.setDefaultTimeout(LONG);
  const page = await context2.newPage();
  const before = await executions();
  const answer = ask(31_000);
  await page.goto(`${at.console}/approve`);
  await page.getByRole("button", { name: "Bob Okafor" }).click();
  // Without a script nothing arrives by itself: look again until it is there.
  for (let tries = 0; (await page.locator(".card a").count()) === 0; tries++) {
    must(tries < 120, "the held call never appeared on the phone");
    await page.waitForTimeout(500);
    await page.goto(`${at.console}/approve`);
  }
  await page.locator(".card a").click();
  await page.getByText('"amount":31000').waitFor();
  if (at.shots) await page.screenshot({ path: join(at.shots, "console-approve-phone.png") });
  must((await executions()) === before, "looking decided");
  await page.locator("textarea").fill("called the customer");
  await page.getByRole("button", { name: "Approve this call" }).click();
  await page.getByText("called the customer").waitFor();
  await ran(answer, before, 1);
  await context2.close();
  await browser?.close();
}

try {
  await desk();
  await phone();
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
for (const one of refusals) problems.push(`nothing at ${one.path} was refused with ${one.status}`);
console.log(JSON.stringify({ problems, ...seen }));
