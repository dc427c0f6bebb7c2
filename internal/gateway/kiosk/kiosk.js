(() => {
  'use strict';
  const at = id => document.getElementById(id);
  const body = document.body, words = JSON.parse(body.dataset.words);
  const image = at('picture'), empty = at('empty'), say = at('say'), ring = at('left'), count = at('count'), foot = at('foot');
  const margin = 3000; // a person needs a moment to scan: no picture is shown that dies within it
  let shown = null;    // the picture on the screen: {next, until} in milliseconds since it came
  let ended = '';      // status of a code that leads nowhere
  let offline = true, stream = null, again = 0, wait = 1000, asked = 0;

  // Time since the picture came. A machine that slept stops one of the clocks, one that is set moves the other: the longer counts.
  const since = p => Math.max(Date.now() - p.wall, performance.now() - p.steady);

  const text = (el, s) => { if (el.textContent !== s) el.textContent = s; };

  function blank(words) {
    shown = null;
    image.hidden = true;
    image.removeAttribute('src');
    text(empty, words);
    empty.hidden = false;
    body.classList.add('blank');
  }

  function draw() {
    const gone = shown ? since(shown) : 0;
    if (shown && gone >= shown.until - margin) {
      blank(words.reconnecting);
      connect(); // whatever the stream is: it has nothing newer
    } else if (shown && !offline && gone > shown.next + 8000 && performance.now() - asked > 10000) {
      connect(); // it is silent, and should not be
    }
    body.classList.toggle('old', !shown || offline);
    foot.hidden = ended !== '';
    if (!shown) {
      if (ended) blank(words[ended] || words.closed);
      text(say, words.reconnecting);
      text(count, '');
      ring.style.strokeDashoffset = 100;
      return;
    }
    const left = Math.max(0, (gone < shown.next ? shown.next : shown.until - margin) - gone);
    ring.style.strokeDashoffset = 100 - Math.min(100, left / 600);
    text(count, String(Math.ceil(left / 1000)));
    text(say, offline ? words.last : words.live);
  }

  function connect() {
    clearTimeout(again);
    if (stream) stream.close();
    offline = true;
    asked = performance.now();
    stream = new EventSource(location.pathname.replace(/\/$/, '') + '/live');
    stream.onopen = () => { offline = false; wait = 1000; draw(); };
    stream.onerror = () => {
      offline = true;
      if (stream.readyState === EventSource.CLOSED) { // refused: browsers do not come back by themselves
        clearTimeout(again);
        again = setTimeout(connect, wait);
        wait = Math.min(2 * wait, 30000);
      }
      draw();
    };
    stream.addEventListener('picture', async e => {
      const p = JSON.parse(e.data), now = Date.parse(p.now);
      const next = {next: Date.parse(p.next_at) - now, until: Date.parse(p.valid_until) - now, wall: Date.now(), steady: performance.now()};
      const drawn = new Image();
      drawn.src = p.image;
      try { await drawn.decode(); } catch { /* the browser shows what it can */ }
      ended = '';
      shown = next;
      image.src = p.image;
      image.hidden = false;
      empty.hidden = true;
      body.classList.remove('blank');
      body.dataset.scan = p.scan_url;
      if (p.name) { text(at('name'), p.name); document.title = p.name; }
      draw();
    });
    stream.addEventListener('closed', e => {
      ended = JSON.parse(e.data).status;
      blank(words[ended] || words.closed);
      draw();
    });
  }

  async function awake() {
    try { if (navigator.wakeLock && document.visibilityState === 'visible') await navigator.wakeLock.request('screen'); } catch { /* the power settings decide */ }
  }
  document.addEventListener('visibilitychange', () => { awake(); draw(); });
  addEventListener('online', () => { if (offline) connect(); });
  addEventListener('offline', () => { offline = true; draw(); });
  awake();
  blank(words.connecting);
  connect();
  setInterval(draw, 500);
})();
