/** The looks of the timeline page. */
export const TIMELINE_STYLE: string = `
:root{--bg:#fff;--fg:#1b1f24;--dim:#656d76;--line:#d8dee4;--soft:#f6f8fa;--ok:#2da44e;--failed:#8c959f;--unknown:#d4a72c;
--event:#218bff;--note:#8250df;--bad:#cf222e;--badsoft:#ffebe9}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#8b949e;--line:#30363d;--soft:#161b22;--ok:#3fb950;
--failed:#6e7681;--unknown:#d29922;--event:#58a6ff;--note:#bc8cff;--bad:#ff7b72;--badsoft:#3b1518}}
*{box-sizing:border-box}
body{margin:0;height:100vh;display:flex;flex-direction:column;font:13px/1.45 system-ui,sans-serif;background:var(--bg);color:var(--fg)}
header{display:flex;flex-wrap:wrap;gap:6px 18px;align-items:center;padding:10px 14px;border-bottom:1px solid var(--line)}
h1{font-size:15px;margin:0}
.verdict{padding:1px 10px;border-radius:10px;color:#fff;background:var(--ok);font-weight:600}
.verdict.violation{background:var(--bad)}.verdict.unverified{background:var(--unknown)}
.dim{color:var(--dim)}.key{display:inline-flex;align-items:center;gap:5px;margin-right:10px}
.key i{width:14px;height:10px;border-radius:2px;display:inline-block}
button{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--line);border-radius:5px;padding:1px 9px;cursor:pointer}
main{flex:1;display:flex;min-height:0}
aside{width:330px;overflow:auto;border-right:1px solid var(--line);padding:8px}
aside:empty{display:none}
.finding{display:block;width:100%;text-align:left;margin:0 0 7px;padding:7px 9px;border-left:4px solid var(--bad);overflow-wrap:anywhere}
.finding.on{background:var(--badsoft)}.finding b{display:block}
#chart{flex:1;overflow:hidden auto;position:relative;outline:none;cursor:grab}
#chart:active{cursor:grabbing}
svg{display:block;width:100%;user-select:none}
text{fill:var(--fg);font:11px system-ui,sans-serif}text.dim{fill:var(--dim)}
.bar text{fill:#fff;pointer-events:none;font-size:10.5px}
.ok{fill:var(--ok)}.failed{fill:var(--failed)}.unknown{fill:var(--unknown)}.event{fill:var(--event)}.note{fill:var(--note)}
i.ok{background:var(--ok)}i.failed{background:var(--failed)}i.unknown{background:var(--unknown)}
i.event{background:var(--event)}i.note{background:var(--note)}i.bad{background:none;border:2px solid var(--bad)}
.mark{fill:none;stroke:var(--bad);stroke-width:2.5}.first .mark{stroke-width:4}
.dull rect,.dull path,.dull circle{opacity:.28}.dull text{fill:var(--fg)}
.grid{stroke:var(--line)}.stripe{fill:var(--soft)}
.shade{fill:var(--note);opacity:.09}
#tip{position:fixed;z-index:9;max-width:520px;padding:8px 11px;background:var(--bg);border:1px solid var(--line);border-radius:6px;
box-shadow:0 4px 18px #0004;pointer-events:none;overflow-wrap:anywhere}
#tip em{color:var(--bad);font-style:normal;display:block;margin-top:5px}
@media (max-width:760px){main{flex-direction:column}aside{width:auto;max-height:34vh;border-right:0;border-bottom:1px solid var(--line)}}
`;

/** What makes the page move; plain JavaScript of a browser, without anything from elsewhere. */
export const TIMELINE_SCRIPT: string = String.raw`
'use strict';
const d = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);
const NS = 'http://www.w3.org/2000/svg';
const LEFT = 132, TOP = 26, ROW = 24;
const chart = $('chart'), tip = $('tip');
const esc = (s) => String(s).replace(/[&<>"]/g, (c) => ({'&':'&amp;','<':'&lt;','>':'&gt;','"':'&quot;'})[c]);
const unit = d.tick === 'event' ? '' : ' ' + d.tick;
const num = (n) => (Math.round(n * 1000) / 1000).toLocaleString('en');
const starts = d.bars.map((b) => b[1]);
const ends = d.bars.map((b) => b[2] ?? b[1]);
let min = starts.length ? starts.reduce((a, b) => Math.min(a, b)) : 0;
let max = ends.length ? ends.reduce((a, b) => Math.max(a, b)) : 1;
const pad = Math.max((max - min) * 0.02, 0.5);
min -= pad; max += pad;
let view = [min, max], chosen = -1;

function head() {
  const c = d.counts, run = Object.entries(d.run).map(([k, v]) => esc(k) + ' ' + esc(v)).join(', ');
  const kinds = [['ok', 'ok'], ['failed', 'failed'], ['unknown', 'unknown outcome'], ['event', 'watch delivery'], ['note', 'fault'], ['bad', 'see the finding']];
  $('head').innerHTML = '<h1>' + esc(d.title) + '</h1><span class="verdict ' + d.verdict + '">' + d.verdict + '</span>' +
    '<span>' + num(c.operations) + ' operations (' + num(c.ok) + ' ok, ' + num(c.failed) + ' failed, ' + num(c.unknown) + ' unknown), ' +
    num(c.streams) + ' streams, ' + num(c.logRecords) + ' log records</span>' +
    (run ? '<span class="dim">' + run + '</span>' : '') +
    (d.cut ? '<span class="dim">' + num(d.cut) + ' operations are not drawn</span>' : '') +
    '<span>' + kinds.map(([k, t]) => '<span class="key"><i class="' + k + '"></i>' + t + '</span>').join('') + '</span>' +
    '<span><button data-zoom="0.5">+</button> <button data-zoom="2">−</button> <button data-zoom="0">all</button>' +
    ' <span class="dim">wheel + Ctrl zooms, drag or wheel moves, arrow keys too</span></span>';
}

function list() {
  const said = d.findings.map((f, i) => '<button class="finding" data-i="' + i + '"><b>' + esc(f.rule) + '</b>' +
    '<span class="dim">' + esc(f.checker) + ', shard ' + esc(f.shard) + '</span><br>' + esc(f.text) + '</button>');
  for (const u of d.unverified) said.push('<p><b>Not verified</b> ' + esc(u) + '</p>');
  if (d.more) said.push('<p class="dim">and ' + num(d.more) + ' more findings</p>');
  $('findings').innerHTML = said.join('');
}

function steps(span, width) {
  const raw = span / Math.max(2, width / 110), power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
}

function bar(b, i, x, right) {
  const [lane, start, end, kind, name, title, , found] = b;
  const point = kind === 'event' || (kind === 'note' && end === start);
  const x1 = Math.max(LEFT - 20, x(start)), open = end === null;
  const x2 = open ? right : Math.min(right + 20, x(end));
  const y = TOP + lane * ROW + 4, w = Math.max(point ? 8 : 4, x2 - x1), h = ROW - 8;
  const dull = chosen >= 0 && !found.includes(chosen);
  const first = chosen >= 0 && d.findings[chosen].operations[0] === Number(name.slice(1)) && name[0] === '#';
  let s = '<g class="bar' + (dull ? ' dull' : '') + (first ? ' first' : '') + '" data-b="' + i + '">';
  if (point) s += '<path class="' + kind + '" d="M' + x1 + ' ' + y + 'l7 ' + h / 2 + 'l-7 ' + h / 2 + 'l-7 -' + h / 2 + 'z"/>';
  else s += '<rect class="' + kind + '" x="' + x1 + '" y="' + y + '" width="' + w + '" height="' + h + '" rx="3"' + (open || kind === 'unknown' ? ' fill-opacity=".75"' : '') + '/>';
  if (found.length) {
    s += point ? '<circle class="mark" cx="' + x1 + '" cy="' + (y + h / 2) + '" r="11"/>'
      : '<rect class="mark" x="' + (x1 - 2) + '" y="' + (y - 2) + '" width="' + (w + 4) + '" height="' + (h + 4) + '" rx="5"/>';
  }
  const room = Math.floor((w - 8) / 5.9), label = name + ' ' + title.replace(/^shard \S+ /, '') + (kind === 'note' ? '' : ' ' + b[6]);
  if (!point && room >= 3) {
    const tx = Math.max(x1, LEFT) + 5, space = Math.floor((x1 + w - tx - 4) / 5.9);
    if (space >= 3) s += '<text x="' + tx + '" y="' + (y + h - 4.5) + '">' + esc(label.length > space ? label.slice(0, space - 1) + '…' : label) + '</text>';
  }
  return s + '</g>';
}

function draw() {
  const width = chart.clientWidth, right = width - 8, [a, z] = view;
  const height = TOP + d.lanes.length * ROW + 12;
  const x = (t) => LEFT + ((t - a) / (z - a)) * (right - LEFT);
  let s = '';
  d.lanes.forEach((name, i) => {
    if (i % 2) s += '<rect class="stripe" x="0" y="' + (TOP + i * ROW) + '" width="' + width + '" height="' + ROW + '"/>';
  });
  const by = steps(z - a, right - LEFT);
  for (let t = Math.ceil(a / by) * by; t <= z; t += by) {
    s += '<line class="grid" x1="' + x(t) + '" x2="' + x(t) + '" y1="' + TOP + '" y2="' + height + '"/>' +
      '<text class="dim" text-anchor="middle" x="' + x(t) + '" y="16">' + num(t) + unit + '</text>';
  }
  let drawn = '';
  for (const b of d.bars) if (b[3] === 'note' && b[2] > b[1]) {
    drawn += '<rect class="shade" x="' + x(b[1]) + '" y="' + TOP + '" width="' + Math.max(1, x(b[2]) - x(b[1])) + '" height="' + height + '"/>';
  }
  d.bars.forEach((b, i) => {
    if (b[1] > z || (b[2] !== null && b[2] < a)) return;
    drawn += bar(b, i, x, right);
  });
  s += '<g clip-path="url(#clip)">' + drawn + '</g>';
  d.lanes.forEach((name, i) => {
    if (name.endsWith(' ')) return;
    s += '<text x="10" y="' + (TOP + i * ROW + 16) + '">' + esc(name.length > 20 ? name.slice(0, 19) + '…' : name) + '</text>';
  });
  chart.innerHTML = '<svg height="' + height + '" role="img" aria-label="timeline"><defs><clipPath id="clip"><rect x="' + (LEFT - 4) + '" y="0" width="' + (right - LEFT + 8) + '" height="' + height + '"/></clipPath></defs>' + s + '</svg>';
  document.querySelectorAll('.finding').forEach((f) => f.classList.toggle('on', Number(f.dataset.i) === chosen));
}

let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; draw(); });
}
function zoom(factor, at) {
  if (factor === 0) { view = [min, max]; chosen = -1; return redraw(); }
  const [a, z] = view, middle = at ?? (a + z) / 2;
  const span = Math.min(max - min, Math.max((z - a) * factor, (max - min) / 1e6));
  const share = (middle - a) / (z - a);
  view = [middle - span * share, middle + span * (1 - share)];
  move(0);
}
function move(by) {
  const span = view[1] - view[0];
  const a = Math.min(Math.max(view[0] + by, min), max - span);
  view = [a, a + span];
  redraw();
}
function timeAt(clientX) {
  const box = chart.getBoundingClientRect();
  return view[0] + ((clientX - box.left - LEFT) / (chart.clientWidth - 8 - LEFT)) * (view[1] - view[0]);
}
function choose(i) {
  chosen = chosen === i ? -1 : i;
  if (chosen >= 0) {
    const near = d.bars.filter((b) => b[7].includes(chosen));
    if (near.length) {
      const from = Math.min(...near.map((b) => b[1])), to = Math.max(...near.map((b) => b[2] ?? b[1]));
      const room = Math.max((to - from) * 0.15, (max - min) / 2000);
      view = [Math.max(min, from - room), Math.min(max, to + room)];
      const lane = Math.min(...near.map((b) => b[0]));
      chart.scrollTop = Math.max(0, lane * ROW - 80);
    }
  }
  redraw();
}
document.addEventListener('click', (e) => {
  const z = e.target.closest('[data-zoom]'), f = e.target.closest('.finding');
  if (z) zoom(Number(z.dataset.zoom));
  if (f) choose(Number(f.dataset.i));
});
chart.addEventListener('wheel', (e) => {
  if (e.ctrlKey || e.metaKey) { e.preventDefault(); zoom(e.deltaY > 0 ? 1.25 : 0.8, timeAt(e.clientX)); }
  else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
    e.preventDefault(); move(((e.deltaX || e.deltaY) / chart.clientWidth) * (view[1] - view[0]));
  }
}, { passive: false });
let drag;
chart.addEventListener('pointerdown', (e) => { drag = [e.clientX, view[0]]; chart.setPointerCapture(e.pointerId); });
chart.addEventListener('pointerup', () => { drag = undefined; });
chart.addEventListener('pointermove', (e) => {
  if (drag) {
    tip.hidden = true;
    const t = ((drag[0] - e.clientX) / (chart.clientWidth - LEFT)) * (view[1] - view[0]);
    return move(drag[1] + t - view[0]);
  }
  const under = document.elementFromPoint(e.clientX, e.clientY);
  const g = under && under.closest('[data-b]');
  if (!g) { tip.hidden = true; return; }
  const [lane, start, end, kind, name, title, result, found] = d.bars[Number(g.dataset.b)];
  const until = end === null ? ' – never answered' : end > start ? ' – ' + num(end) + unit + ' (' + num(end - start) + unit + ')' : unit;
  tip.innerHTML = '<b>' + esc(name) + '</b> <span class="dim">' + esc(d.lanes[lane]) + ' · ' + kind + ' · ' + num(start) + until + '</span><br>' +
    esc(title) + '<br>' + esc(result) + found.map((i) => '<em>' + esc(d.findings[i].rule) + ': ' + esc(d.findings[i].text) + '</em>').join('');
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.min(e.clientX + 14, innerWidth - box.width - 8) + 'px';
  tip.style.top = (e.clientY + box.height + 20 > innerHeight ? e.clientY - box.height - 10 : e.clientY + 14) + 'px';
});
chart.addEventListener('pointerleave', () => { tip.hidden = true; });
chart.addEventListener('keydown', (e) => {
  const span = view[1] - view[0];
  const keys = { ArrowLeft: () => move(-span / 8), ArrowRight: () => move(span / 8), '+': () => zoom(0.7), '-': () => zoom(1.4), 0: () => zoom(0) };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
addEventListener('resize', redraw);
head(); list(); draw();
if (d.findings.length) choose(0);
`;
