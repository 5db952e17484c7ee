// The page of the program itself, in front of two servers.
export const program = {
  'the program: everything works for real': async ({at, open}, assert) => {
    const {page, wrong, close} = await open();
    await page.goto(`http://${at.program}/`);
    const row = (name) => page.locator('tbody').filter({has: page.getByRole('rowheader', {name})});
    const button = (action, name) => row(name).getByRole('button', {name: action});
    for (const name of ['amsterdam', 'berlin']) await row(name).locator('.state .up').waitFor();
    const current = async (name) => row(name).locator('.badge').filter({hasText: 'current'}).waitFor();

    await button('Prefer', 'berlin').click();
    await page.getByRole('dialog').waitFor();
    await page.keyboard.type(at.token);
    await page.keyboard.press('Enter');
    await page.getByText('berlin is preferred').waitFor();
    await current('berlin');
    await button('Prefer', 'amsterdam').click();
    await page.getByText('amsterdam is preferred').waitFor();
    await current('amsterdam');
    await page.getByText('TCP: berlin → amsterdam, because somebody chose it').first().waitFor();
    await button('Drain', 'amsterdam').click();
    await page.getByText('amsterdam takes no new flows').waitFor();
    await current('berlin');
    await button('Drain', 'amsterdam').click();
    await page.getByText('amsterdam takes new flows again').waitFor();
    await button('Probe', 'amsterdam').click();
    await page.getByText('amsterdam is being probed').waitFor();
    await button('Prefer', 'amsterdam').click();
    await page.getByText('amsterdam is preferred').waitFor();
    await current('amsterdam');
    await page.getByRole('button', {name: 'Reload'}).click();
    await page.getByText('The configuration was read again.').waitFor();
    await page.waitForTimeout(5000);

    const began = Date.now();
    await fetch(`http://${at.control}/kill/amsterdam`, {method: 'POST'});
    await row('amsterdam').getByText('connection refused').waitFor();
    await row('amsterdam').locator('.state .down').waitFor();
    await current('berlin');
    await page.getByText(/^TCP: amsterdam → berlin, because/).first().waitFor();
    const took = Date.now() - began;
    console.log(`      a killed upstream is on the page after ${took} ms, with the reason`);
    assert.ok(took < 4000, `${took} ms`); // 3 s, and the second between two looks
    await page.screenshot({path: `${at.out}/program.png`, fullPage: true});
    assert.deepEqual(wrong.filter((w) => !w.includes('401')), []);

    await fetch(`http://${at.control}/kill/berlin`, {method: 'POST'});
    await page.getByText('not ready: no upstream can be used').waitFor();
    await close();
  },
};
