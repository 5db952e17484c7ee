// What a web page does that the user happens to look at. None of it may change anything, or see anything.

// tries runs in the page that attacks, and returns what it could see.
async function tries({target, token}) {
  const seen = [];
  const change = `${target}api/v1/upstreams/berlin/drain`;
  const send = async (what, url, options) => {
    try {
      const r = await fetch(url, options);
      seen.push(`${what}: ${r.type} ${r.status} ${(await r.text()).slice(0, 20)}`);
    } catch {
      seen.push(`${what}: nothing`);
    }
  };
  await send('read', `${target}api/v1/status`, {});
  await send('read blindly', `${target}api/v1/status`, {mode: 'no-cors'});
  await send('post', change, {method: 'POST'});
  await send('post blindly', change, {method: 'POST', mode: 'no-cors'});
  await send('post text', change, {method: 'POST', mode: 'no-cors', body: '{}'});
  // Even with the token, which it cannot know.
  await send('post with the token', change, {method: 'POST', headers: {Authorization: `Bearer ${token}`}});
  return seen;
}

// elsewhere opens the page of another origin.
async function elsewhere({at, open}, host) {
  const opened = await open();
  await opened.page.goto(`http://${host}:${at.evil.split(':')[1]}/`);
  return opened;
}

async function unchanged({calls}, assert, attack) {
  const before = await calls();
  await attack();
  assert.deepEqual(await calls(), before);
}

export const attacks = {
  'another origin on this machine': (world, assert) => unchanged(world, assert, async () => {
    const {page, close} = await elsewhere(world, '127.0.0.1');
    const seen = await page.evaluate(tries, {target: world.status, token: world.at.token});
    assert.deepEqual(seen.filter((s) => !s.endsWith(': nothing') && !/: opaque 0 $/.test(s)), []);
    await close();
  }),

  'another site': (world, assert) => unchanged(world, assert, async () => {
    const {page, close} = await elsewhere(world, 'evil.example');
    const seen = await page.evaluate(tries, {target: world.status, token: world.at.token});
    assert.deepEqual(seen.filter((s) => !s.endsWith(': nothing') && !/: opaque 0 $/.test(s)), []);
    await close();
  }),

  'a form': (world, assert) => unchanged(world, assert, async () => {
    const {page, close} = await elsewhere(world, 'evil.example');
    await page.evaluate((target) => {
      const form = document.createElement('form');
      form.method = 'post';
      form.action = `${target}api/v1/upstreams/berlin/drain`;
      document.body.append(form);
      form.submit();
    }, world.status);
    await page.getByText('"error"').waitFor();
    assert.match(await page.innerText('body'), /comes from another web site|body is not JSON/);
    await close();
  }),

  'a frame': async (world, assert) => {
    const {page, close} = await elsewhere(world, 'evil.example');
    await page.evaluate((target) => {
      const frame = document.createElement('iframe');
      frame.src = target;
      document.body.append(frame);
      return new Promise((resolve) => { frame.onload = resolve; });
    }, world.status);
    const frame = page.frames()[1];
    assert.equal(await frame.locator('tbody').count().catch(() => 0), 0);
    assert.ok(!frame.url().startsWith(world.status), frame.url());
    await close();
  },

  // The name evil.example points to this machine now, so for the browser it is one origin with the status.
  'a name that was pointed here': (world, assert) => unchanged(world, assert, async () => {
    const {page, close} = await world.open();
    const target = `http://evil.example:${world.at.status.split(':')[1]}/`;
    const answer = await page.goto(target);
    assert.equal(answer.status(), 403);
    const seen = await page.evaluate(tries, {target, token: world.at.token});
    for (const s of seen) assert.match(s, /: (nothing|basic (403|415) )/);
    await close();
  }),
};
