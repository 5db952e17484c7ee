// What people do with the page.
const NAME = '<img src=x onerror="alert(1)">/../?#'; // of one upstream

const row = (page, name) => page.locator('tbody').filter({has: page.getByRole('rowheader', {name: new RegExp(`^${name}`)})});
const button = (page, action, name) => page.getByRole('button', {name: `${action} ${name}`, exact: true});

// reach presses Tab until an element has the focus, as somebody without a mouse does.
async function reach(page, target, assert) {
  for (let presses = 0; presses < 60; presses++) {
    if (await target.evaluate((e) => e === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail('the keyboard does not get there');
}

export const uses = {
  'names are text': async ({open, status}, assert) => {
    const {page, wrong, close} = await open();
    await page.goto(status);
    await page.getByRole('rowheader', {name: NAME}).waitFor();
    assert.equal(await page.locator('img').count(), 0);
    assert.match(await page.locator('#last').innerText(), /^TCP: amsterdam, because there was none before/);
    assert.equal(await page.title(), 'amsterdam – outline-cli-ws');
    assert.deepEqual(wrong, []);
    await close();
  },

  'no script and no markup can be added': async ({open, status}, assert) => {
    const {page, close} = await open();
    await page.goto(status);
    const done = await page.evaluate(() => {
      const done = [];
      const script = document.createElement('script');
      try { script.text = 'window.owned = true'; } catch { done.push('text'); }
      try { document.body.append(script); } catch { done.push('append'); }
      try { document.body.innerHTML = '<b>owned</b>'; } catch { done.push('markup'); }
      try { trustedTypes.createPolicy('x', {createHTML: (s) => s}); } catch { done.push('policy'); }
      return {done, owned: Boolean(window.owned)};
    });
    assert.equal(done.owned, false);
    assert.ok(done.done.includes('markup') && done.done.includes('policy'), done.done.join());
    await close();
  },

  'the lines grow': async ({open, status}, assert) => {
    const {page, close} = await open();
    await page.goto(status);
    const line = row(page, 'amsterdam').locator('svg path').nth(1);
    const points = async () => ((await line.getAttribute('d')) || '').split('L').length;
    await page.waitForTimeout(1500);
    const before = await points();
    await page.waitForTimeout(3000);
    const after = await points();
    assert.ok(after >= before + 2 && after <= before + 4, `${before} points, then ${after}`);
    const label = await row(page, 'amsterdam').locator('svg').nth(1).getAttribute('aria-label');
    assert.match(label, /^Throughput of amsterdam over tcp: .*B\/s to .*MB\/s$/);
    await close();
  },

  'by keyboard: prefer, with a wrong token first': async ({at, calls, open, status}, assert) => {
    const {page, wrong, close} = await open();
    await page.goto(status);
    const prefer = button(page, 'Prefer', 'berlin'), before = (await calls()).length;
    await prefer.waitFor();
    await reach(page, prefer, assert);
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('a token is needed').waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('Nothing was changed.').waitFor();
    await page.keyboard.press('Enter'); // the focus is back
    await dialog.waitFor();
    await page.keyboard.type('not the token');
    await page.keyboard.press('Enter');
    await dialog.getByText('the token is wrong').waitFor();
    await page.screenshot({path: `${at.out}/token.png`});
    assert.equal((await calls()).length, before);
    await page.keyboard.type(at.token);
    await page.keyboard.press('Enter');
    await page.getByText('berlin is preferred while it is usable.').waitFor();
    assert.deepEqual((await calls()).slice(before), ['select berlin']);
    await page.locator('button[aria-pressed=true]').waitFor();
    assert.equal(await prefer.getAttribute('aria-pressed'), 'true');
    assert.match(await page.locator('#last').innerText(), /TCP: amsterdam → berlin, because somebody chose it/);
    await page.waitForTimeout(1500); // the page is drawn again
    assert.ok(await prefer.evaluate((e) => e === document.activeElement), 'the focus is lost');
    await page.keyboard.press('Enter');
    await page.getByText('berlin is chosen by its score again.').waitFor();
    assert.deepEqual((await calls()).slice(before), ['select berlin', 'enable berlin']);
    await page.reload(); // the token stays with the tab
    await button(page, 'Drain', NAME).click();
    await page.getByText('takes no new flows.').waitFor();
    await button(page, 'Drain', NAME).click();
    await page.getByText('takes new flows again.').waitFor();
    assert.deepEqual((await calls()).slice(before + 2), [`drain ${NAME}`, `enable ${NAME}`]);
    await page.getByRole('button', {name: 'Reload'}).click();
    await page.getByText('The configuration was read again.').waitFor();
    assert.deepEqual(wrong.filter((w) => !w.includes('401')), []);
    await close();
  },

  'a hidden page asks nothing': async ({open, status}, assert) => {
    const {page, asked, close} = await open();
    await page.goto(status);
    await page.locator('tbody').first().waitFor();
    const hide = (hidden) => page.evaluate((hidden) => {
      Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    await page.waitForTimeout(1200); // what was under way has come
    const before = asked.length;
    await page.waitForTimeout(2500);
    assert.equal(asked.length, before);
    await hide(false);
    await page.waitForTimeout(500);
    assert.equal(asked.length, before + 1);
    await close();
  },

  'an upstream that goes down shows within 3 s, with the reason': async ({at, down, open, status}, assert) => {
    const {page, wrong, close} = await open();
    await page.goto(status);
    await row(page, 'amsterdam').locator('.up').first().waitFor();
    const began = Date.now();
    await down('amsterdam');
    await row(page, 'amsterdam').getByText('connection refused').first().waitFor();
    await page.getByText('TCP: amsterdam → berlin, because the one before is down').first().waitFor();
    const took = Date.now() - began;
    assert.ok(took < 3000, `${took} ms`);
    assert.equal(await row(page, 'amsterdam').locator('.state .down').first().innerText(), 'down');
    await page.screenshot({path: `${at.out}/down.png`, fullPage: true});
    assert.deepEqual(wrong, []);
    await close();
  },

  'from another host, with the token alone': async ({at, open, status}, assert) => {
    const {page, wrong, close} = await open({extraHTTPHeaders: {'X-Forwarded-For': '192.0.2.7'}});
    await page.goto(status);
    await page.getByText('no status: a token is needed').waitFor();
    assert.equal(await page.locator('tbody').count(), 0);
    await page.getByRole('button', {name: 'Enter the token'}).click();
    await page.getByRole('dialog').waitFor();
    await page.keyboard.type(at.token);
    await page.keyboard.press('Enter');
    await page.locator('tbody').first().waitFor();
    await page.getByText('ready', {exact: true}).waitFor();
    assert.equal(await page.getByRole('button', {name: 'Enter the token'}).count(), 0); // it is hidden
    assert.deepEqual(wrong.filter((w) => !w.includes('401')), []);
    await close();
  },

  'a program that is gone is not shown as if it were there': async ({open, status}) => {
    const {page, close} = await open();
    await page.goto(status);
    await page.getByText('ready', {exact: true}).waitFor();
    await page.route('**/api/v1/status', (route) => route.abort());
    await page.getByText(/^no status since/).waitFor();
    await page.unroute('**/api/v1/status');
    await page.getByText('ready', {exact: true}).waitFor();
    await close();
  },
};
