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
const profile = mkdtempSync(join(tmpdir(), "callgate-browser-"));
const problems = [];
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
function ask(amount) {
  return fetch(`${at.gateway}/payments/refunds`, {
    method: "POST",
    headers: { authorization: `Bearer ${at.token}`, "content-type": "application/json" },
    body: JSON.stringify({ order: "o-2", amount, reason: "damaged" }),
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
  const kept = at.shots && !["inbox-empty", "connections", "approve-list"].includes(name);
  if (kept) await page.screenshot({ path: join(at.shots, `console-${name}.png`), animations: "disabled" });
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
    if (message.type() === "error" && ours) problems.push(`console: ${message.text()} ${message.location().url}`);
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

  // Its record.
  const call = given.headers.get("callgate-call");
  await page.goto(`${at.console}/calls`);
  await page.locator(`a[href="/calls/${call}"]`).waitFor();
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
  await look(page, "audit");

  await page.getByRole("link", { name: "Policies" }).click();
  await page.getByLabel("Function").selectOption("payments/createRefund");
  await page.getByLabel("Input").fill('{ "body": { "order": "o-1", "amount": 50000 } }');
  await page.getByRole("button", { name: "Decide" }).click();
  await page.locator(".answer").getByText("large-refunds-need-a-lead").first().waitFor();
  await look(page, "policies");

  await page.getByRole("link", { name: "Functions" }).click();
  await page.getByRole("rowheader", { name: /payments\/createRefund/ }).waitFor();
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

async function phone() {
  const without = await context.browser()?.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  const browser = without ? null : await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  const context2 = without ?? (await browser.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } }));
  context2.setDefaultTimeout(LONG);
  const page = await context2.newPage();
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
  must((await executions()) === 1, "looking decided");
  await page.locator("textarea").fill("called the customer");
  await page.getByRole("button", { name: "Approve this call" }).click();
  await page.getByText("called the customer").waitFor();
  const given = await answer;
  must(given.status === 201, `the caller got ${given.status}`);
  must((await executions()) === 2, "it ran not exactly once more");
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
console.log(JSON.stringify({ problems, bytes: seen.bytes }));
