import { count, millis } from './format.js'
import { html } from './html.js'

/** The upstreams with the health, the load and the circuit breaker of each target. */
export function Upstreams({ rows, mayAct, propose }) {
  const trouble = rows.filter(({ targets }) => targets.some(isOut)).length
  return html`
    <section class="panel upstreams">
      <div class="panel-head">
        <h2>Upstreams <span class="muted">${rows.length}</span></h2>
        ${trouble > 0 && html`<span class="badge bad">${trouble} with targets out of use</span>`}
      </div>
      ${rows.length === 0 && html`<p class="hint">No route uses an upstream.</p>`}
      ${[...rows].sort(worstFirst).map((row) => html`<${UpstreamTable} key=${row.name} row=${row} mayAct=${mayAct} propose=${propose} />`)}
    </section>
  `
}

/** Returns whether a target should be in use, and is not. */
const isOut = (target) =>
  !target.ready && !['healthy', 'standing by', 'weight 0'].includes(stateOf(target).text)

const outShare = ({ targets }) => (targets.length === 0 ? 1 : targets.filter(isOut).length / targets.length)
const worstFirst = (one, other) => outShare(other) - outShare(one) || (one.name < other.name ? -1 : 1)

function UpstreamTable({ row, mayAct, propose }) {
  const { name, targets, inFlight, retries, retriesRefused, p50, p95 } = row
  const ready = targets.filter((target) => target.ready).length
  return html`
    <div class="upstream">
      <div class="upstream-head">
        <h3>${name}</h3>
        <span class=${`badge ${ready === 0 ? 'bad' : targets.some(isOut) ? 'warn' : 'good'}`}>
          ${ready} of ${targets.length} in use
        </span>
        <span class="muted small">
          ${count(inFlight)} in flight${p50 === null ? '' : ` · p50 ${millis(p50)} · p95 ${millis(p95)}`}
          ${retries > 0 ? ` · ${count(retries)} retries` : ''}${retriesRefused > 0 ? ` (${count(retriesRefused)} over the budget)` : ''}
        </span>
      </div>
      ${targets.length === 0 && html`<p class="hint">No target was found.</p>`}
      <ul class="targets">
        ${targets.map(
          (target) => html`
            <li key=${target.name}>
              <span class=${`dot ${stateOf(target).kind}`}></span>
              <span class="name">${target.name}</span>
              <span class=${`state ${stateOf(target).kind}`}>${stateOf(target).text}</span>
              <span class="muted small">
                ${count(target.inFlight)} in flight${target.weight === 1 ? '' : ` · weight ${target.weight}`}${target.backup ? ' · backup' : ''}
              </span>
              ${mayAct && html`<${DrainButton} name=${name} target=${target} isLast=${ready === 1 && target.ready} propose=${propose} />`}
            </li>
          `
        )}
      </ul>
    </div>
  `
}

/** Says in words why a target is in use or not. */
function stateOf({ ready, healthy, ejected, drained, breaker, weight, backup }) {
  if (drained) return { kind: 'warn', text: 'drained' }
  if (!healthy) return { kind: 'bad', text: ready ? 'unhealthy, in use for want of others' : 'unhealthy' }
  if (breaker === 'open') return { kind: 'bad', text: 'breaker open' }
  if (ejected) return { kind: 'bad', text: ready ? 'ejected, in use for want of others' : 'ejected' }
  if (breaker === 'half-open') return { kind: 'warn', text: 'breaker half-open' }
  if (weight === 0) return { kind: 'idle', text: 'weight 0' }
  if (ready) return { kind: 'good', text: 'healthy' }
  return { kind: 'idle', text: backup ? 'standing by' : 'not in use' }
}

function DrainButton({ name, target, isLast, propose }) {
  const { drained } = target
  const ask = () =>
    propose(
      drained
        ? {
            title: `Take ${target.name} back into use?`,
            text: `It gets requests of ${name} again.`,
            verb: 'Undrain',
            path: 'undrain',
            body: { upstream: name, target: target.name },
            done: () => `${target.name} of ${name} is back in use.`
          }
        : {
            title: `Drain ${target.name}?`,
            text: `New requests of ${name} go to its other targets. Requests in flight and WebSockets continue.`,
            warning: isLast
              ? `It is the last target in use: requests of ${name} will be answered with 503.`
              : '',
            verb: 'Drain',
            path: 'drain',
            body: { upstream: name, target: target.name },
            done: () => `${target.name} of ${name} is drained.`
          }
    )
  return html`<button type="button" class="small" onClick=${ask} aria-label=${`${drained ? 'Undrain' : 'Drain'} ${target.name} of ${name}`}>
    ${drained ? 'Undrain' : 'Drain'}
  </button>`
}
