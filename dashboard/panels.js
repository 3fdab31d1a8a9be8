import { ago, bytes, clock, count, countOf, date, duration, percent, rate } from './format.js'
import { Component, html } from './html.js'

/** The number at the top that a wall screen shows. */
export function Tile({ label, value, kind = '', note = '' }) {
  return html`<div class=${`tile ${kind}`}><dt>${label}</dt><dd>${value}</dd>${note !== '' && html`<dd class="note">${note}</dd>`}</div>`
}

function Panel({ title, total, children, className = '' }) {
  return html`
    <section class=${`panel ${className}`}>
      <div class="panel-head"><h2>${title} ${total !== undefined && html`<span class="muted">${total}</span>`}</h2></div>
      ${children}
    </section>
  `
}

const SHOWN_REFUSALS = 12

// The route of requests that match no route.
const isRoute = (name) => name !== '' && name !== 'not found'

/** The latest refusals, by code and route. */
export class Refusals extends Component {
  state = { isAll: false }

  render({ rows, now, explain }, { isAll }) {
    const sorted = [...rows].sort((one, other) => other.at - one.at)
    const shown = isAll ? sorted : sorted.slice(0, SHOWN_REFUSALS)
    return html`
      <${Panel} title="Recent refusals" total=${rows.length} className="refusals">
        ${rows.length === 0 && html`<p class="hint">No request was refused.</p>`}
        <ul class="list">
          ${shown.map(
            ({
              name,
              code,
              status,
              route,
              gate,
              method,
              url,
              reason,
              from,
              count: times,
              at,
              then,
              seconds,
              requestId
            }) => html`
              <li key=${name}>
                <div class="line">
                  <span class=${`badge ${status >= 500 ? 'bad' : 'warn'}`}>${status}</span>
                  <b class="code">${code}</b>
                  <span class="muted small push">
                    ${count(times)}${then.count === undefined || times > then.count ? ` · ${rate((times - (then.count ?? 0)) / seconds)}/s` : ''} · ${ago(at, now)}
                  </span>
                </div>
                <div class="small">${reason}</div>
                <div class="small muted">
                  ${gate}${isRoute(route) ? ` on ${route}` : ''}, last ${method}${requestId ? ` ${requestId}` : ''}
                  ${from !== null && html` · <code>${from}</code>`}${' '}
                  <button type="button" class="small" onClick=${() => explain({ method, url })}>Explain</button>
                </div>
              </li>
            `
          )}
        </ul>
        ${
          rows.length > SHOWN_REFUSALS &&
          html`<button type="button" class="more" onClick=${() => this.setState({ isAll: !isAll })}>${isAll ? 'Show fewer' : `Show all ${rows.length}`}</button>`
        }
      <//>
    `
  }
}

/** The rate limits of the config, with what they let pass and refuse. */
export function Limits({ limits, routes, isCounting }) {
  const byRoute = new Map(routes.map((row) => [row.name, row]))
  return html`
    <${Panel} title="Limits" total=${limits.length}>
      ${limits.length === 0 && html`<p class="hint">No route has a <code>rateLimit</code>.</p>`}
      <ul class="list">
        ${limits.map(({ name, quota, from, routes: names }) => {
          const counted = countLimit(
            name,
            names.flatMap((each) => byRoute.get(each) ?? [])
          )
          return html`
            <li key=${from + name}>
              <div class="line">
                <b>${quota}</b>
                <span class="small push">
                  ${
                    isCounting &&
                    html`<span class="muted">${rate(counted.passed)}/s pass</span>
                      <span class=${counted.refused > 0 ? 'warn' : 'muted'}> · ${rate(counted.refused)}/s refused</span>`
                  }
                </span>
              </div>
              <div class="small muted">
                ${name === 'default' ? '' : `${name}, `}${names.length === 1 ? names[0] : `${names.length} routes`} · <code>${from}</code>
                ${isCounting && counted.total > 0 ? ` · ${count(counted.total)} refused in total` : ''}
              </div>
            </li>
          `
        })}
      </ul>
    <//>
  `
}

function countLimit(name, rows) {
  const counted = { passed: 0, refused: 0, total: 0 }
  for (const { limits, then, seconds } of rows) {
    const now = limits.find((limit) => limit.name === name)
    if (now === undefined) continue
    const before = then.limits.find((limit) => limit.name === name) ?? { passed: 0, refused: 0 }
    counted.passed += Math.max(0, now.passed - before.passed) / seconds
    counted.refused += Math.max(0, now.refused - before.refused) / seconds
    counted.total += now.refused
  }
  return counted
}

/** The routes with a cache, with how many requests they answer without their upstream. */
export function Caches({ rows, memory }) {
  if (memory === null) return null
  return html`
    <${Panel} title="Caches" total=${rows.length}>
      <p class="small muted">${countOf(memory.entries, 'response')}, ${bytes(memory.bytes)} in memory</p>
      <ul class="list">
        ${rows.map(({ name, results, then, seconds }) => {
          const of = (result) => Math.max(0, (results[result] ?? 0) - (then.results[result] ?? 0))
          const fresh = of('hit') + of('collapsed')
          const all = fresh + of('miss')
          const total = (results.hit ?? 0) + (results.collapsed ?? 0)
          const share = all === 0 ? overall(total, results.miss ?? 0) : fresh / all
          return html`
            <li key=${name}>
              <div class="line"><b>${name}</b><span class="push">${percent(share)} hits</span></div>
              <meter min="0" max="1" value=${share ?? 0} aria-label=${`Hits of ${name}`}></meter>
              <div class="small muted">
                ${rate(all / seconds)}/s · ${count(total)} hits, ${count(results.miss ?? 0)} misses, ${count(results.bypass ?? 0)} bypassed
              </div>
            </li>
          `
        })}
      </ul>
    <//>
  `
}

const overall = (hits, misses) => (hits + misses === 0 ? null : hits / (hits + misses))

const DAY_MS = 86_400_000
const SOON_DAYS = 14

/** The certificates, with when they expire. */
export function Certificates({ certificates, now }) {
  if (certificates.length === 0) return null
  return html`
    <${Panel} title="Certificates" total=${certificates.length}>
      <ul class="list">
        ${certificates.map(({ names, ends, from, trouble }) => {
          const days = ends === null ? null : (Date.parse(ends) - now) / DAY_MS
          const kind =
            trouble !== undefined || days === null || days < 0 ? 'bad' : days < SOON_DAYS ? 'warn' : 'good'
          return html`
            <li key=${names.join()}>
              <div class="line">
                <b>${names.join(', ')}</b>
                <span class=${`badge push ${kind}`}>
                  ${days === null ? 'not issued' : days < 0 ? 'expired' : `${duration(days * 86_400)} left`}
                </span>
              </div>
              <div class="small muted">from ${from}${ends === null ? '' : `, until ${date(Date.parse(ends))}`}</div>
              ${trouble !== undefined && html`<div class="small bad">${trouble}</div>`}
            </li>
          `
        })}
      </ul>
    <//>
  `
}

/** The latest reloads, with what each changed or why it was refused. */
export function Reloads({ reloads, startedAt, now }) {
  return html`
    <${Panel} title="Reloads" total=${reloads.length}>
      <ul class="list">
        ${reloads.map(
          ({ at, why, outcome, faults, diff }) => html`
            <li key=${at}>
              <div class="line">
                <span class=${`badge ${outcome === 'taken' ? 'good' : 'bad'}`}>${outcome}</span>
                <span>${why}</span>
                <span class="muted small push">${clock(Date.parse(at))} · ${ago(Date.parse(at), now)}</span>
              </div>
              ${faults.length > 0 && html`<pre class="faults">${faults.join('\n')}</pre>`}
              ${
                diff !== '' &&
                html`<details>
                  <summary>What changed</summary>
                  <pre class="diff" tabindex="0">${diff.split('\n').map((line) => html`<span class=${kindOf(line)}>${line}${'\n'}</span>`)}</pre>
                </details>`
              }
              ${diff === '' && faults.length === 0 && html`<div class="small muted">The config is the same as before.</div>`}
            </li>
          `
        )}
        <li><div class="line"><span class="badge">started</span><span class="muted small push">${date(Date.parse(startedAt))}</span></div></li>
      </ul>
    <//>
  `
}

const kindOf = (line) =>
  line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : line.startsWith('@@') ? 'part' : ''
