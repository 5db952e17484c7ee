// How the page looks, on a desk and on a phone, by day and by night.
const views = {
  'desk-light': {colorScheme: 'light'},
  'desk-dark': {colorScheme: 'dark'},
  'phone-light': {colorScheme: 'light', viewport: {width: 390, height: 844}, isMobile: true, hasTouch: true},
  'phone-dark': {colorScheme: 'dark', viewport: {width: 360, height: 740}, isMobile: true, hasTouch: true},
};

// contrasts lists the texts that are hard to read on what is behind them (WCAG AA: 4.5 to 1), in the page.
function contrasts() {
  const light = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((v, i) => {
      const s = i < 3 ? v / 255 : 0;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (color !== 'rgba(0, 0, 0, 0)') return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const bad = [];
  for (const e of document.body.querySelectorAll('*')) {
    const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    if (!own || !e.checkVisibility() || ['SCRIPT', 'NOSCRIPT'].includes(e.tagName)) continue;
    const a = light(getComputedStyle(e).color), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${e.textContent.trim().slice(0, 30)}: ${ratio.toFixed(1)}`);
  }
  return bad;
}

// misfits lists what does not fit: what sticks out to the right, and buttons too small for a finger.
function misfits(finger) {
  const bad = [];
  if (document.scrollingElement.scrollWidth > innerWidth) bad.push('the page scrolls sideways');
  for (const b of document.querySelectorAll('main button')) {
    const {width, height} = b.getBoundingClientRect();
    if (finger && Math.min(width, height) < 44) bad.push(`${b.textContent}: ${width} x ${height}`);
  }
  return bad;
}

export const looks = Object.fromEntries(Object.entries(views).map(([name, options]) => [
  `looks: ${name}`,
  async ({at, open, status}, assert) => {
    const {page, wrong, asked, close} = await open(options);
    await page.goto(status);
    await page.locator('tbody').nth(2).waitFor();
    await page.waitForTimeout(4500); // for the lines to have some length
    assert.deepEqual(await page.evaluate(contrasts), []);
    assert.deepEqual(await page.evaluate(misfits, Boolean(options.isMobile)), []);
    await page.screenshot({path: `${at.out}/${name}.png`, fullPage: true});
    assert.deepEqual(wrong, []);
    const elsewhere = asked.filter((url) => !url.startsWith(status) && !url.startsWith('data:'));
    assert.deepEqual(elsewhere, []);
    await close();
  },
]));
