import { ask } from './data.js'
import { Component, html } from './html.js'

const EMPTY = { method: 'GET', url: '', headers: '', caller: '', from: '192.0.2.1' }

/** Explains a request that is described in a form; `wanted` fills it in, and asks. */
export class Explain extends Component {
  state = { fields: EMPTY, found: null, error: '', isBusy: false, isOpen: false }

  componentDidUpdate({ wanted }) {
    if (wanted === this.props.wanted || this.props.wanted === null) return
    const { method, url } = this.props.wanted
    this.setState({ fields: { ...EMPTY, method, url }, found: null, error: '', isOpen: true })
    if (this.props.mayAct) void this.#ask({ ...EMPTY, method, url })
    document.getElementById('explain')?.scrollIntoView({ block: 'start' })
  }

  async #ask(fields) {
    this.setState({ isBusy: true, error: '' })
    try {
      this.setState({ found: await ask('explain', questionOf(fields)) })
    } catch (error) {
      this.setState({ found: null, error: error.message })
    }
    this.setState({ isBusy: false })
  }

  render({ mayAct }, { fields, found, error, isBusy, isOpen }) {
    const input = (name, label, rest = {}) => html`
      <label class="small">${label}
        <input
          ...${rest}
          value=${fields[name]}
          onInput=${({ currentTarget }) => this.setState({ fields: { ...fields, [name]: currentTarget.value } })}
        />
      </label>
    `
    return html`
      <section class="panel" id="explain">
        <details open=${isOpen} onToggle=${({ currentTarget }) => this.setState({ isOpen: currentTarget.open })}>
          <summary><h2>Explain a request</h2></summary>
          <p class="hint">
            What becomes of a request, and why. It is run without calling a service: counters are empty, and targets
            respond 200. ${!mayAct && html`It needs a token: set <code>ADMIN_TOKEN</code>.`}
          </p>
          <form
            class="explain"
            onSubmit=${(event) => {
              event.preventDefault()
              void this.#ask(fields)
            }}
          >
            ${input('method', 'Method', { required: true, size: 8 })}
            ${input('url', 'URL or path', { required: true, placeholder: '/orders/7', class: 'wide' })}
            ${input('from', 'Address of the client', { required: true })}
            <label class="small">Headers, one in a line
              <textarea
                rows="3"
                placeholder="accept: text/html"
                onInput=${({ currentTarget }) => this.setState({ fields: { ...fields, headers: currentTarget.value } })}
                value=${fields.headers}
              ></textarea>
            </label>
            ${input('caller', 'Caller as JSON, in place of credentials', { placeholder: '{"id": "ada", "roles": ["staff"]}', class: 'wide' })}
            <button type="submit" class="primary" disabled=${isBusy || !mayAct}>Explain</button>
          </form>
          ${error !== '' && html`<p class="error" role="alert">${error}</p>`}
          ${found !== null && html`<${Explanation} ...${found} />`}
        </details>
      </section>
    `
  }
}

/** Turns the fields of the form into the body of the question; throws an error that says what is expected. */
function questionOf({ method, url, headers, caller, from }) {
  const pairs = headers
    .split('\n')
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map((text) => [text.slice(0, text.indexOf(':')).trim(), text.slice(text.indexOf(':') + 1).trim()])
  let as
  try {
    as = caller.trim() === '' ? undefined : JSON.parse(caller)
  } catch {
    throw new Error('expected a caller such as {"id": "ada", "roles": ["staff"]}')
  }
  return { method, url, from, headers: Object.fromEntries(pairs), ...(as === undefined ? {} : { as }) }
}

const KINDS = { forwarded: 'good', answered: 'good', refused: 'bad', unknown: 'warn' }
const GATE_KINDS = { passed: 'good', refused: 'bad', answered: 'warn', reported: 'warn', unknown: 'warn' }

function Explanation({
  verdict,
  status,
  code,
  detail,
  caller,
  route,
  normalized,
  candidates,
  gates,
  upstreams,
  assumes
}) {
  return html`
    <div class="explanation" role="status">
      <p class="line">
        <span class=${`badge ${KINDS[verdict]}`}>${verdict}</span>
        ${status !== null && html`<b>${status}</b>`} ${code !== null && html`<b class="code">${code}</b>`}
        ${detail ?? ''}${caller === null ? '' : ` The caller is ${caller.id} (${caller.by}).`}
      </p>
      ${normalized !== null && html`<p class="small muted">Read as <code>${normalized.scheme}://${normalized.host}${normalized.path}</code>, client ${normalized.client}</p>`}
      <h3>Route</h3>
      <p class="small">${route === null ? 'None.' : html`<b>${route.name}</b> <code>${route.place ?? 'built in'}</code>`}</p>
      <ul class="list">
        ${candidates
          .filter(({ lostBy }) => lostBy !== null)
          .map(
            (each) =>
              html`<li class="small muted">not ${each.route} <code>${each.place ?? 'built in'}</code>: ${each.lostBy}</li>`
          )}
      </ul>
      ${gates.length > 0 && html`<h3>Gates</h3>`}
      <ul class="list">${gates.map((gate) => html`<${Gate} ...${gate} />`)}</ul>
      ${upstreams.map((upstream) => html`<${Upstream} ...${upstream} />`)}
      ${assumes.length > 0 && html`<h3>Taken for granted</h3>`}
      <ul class="list">${assumes.map((text) => html`<li class="small muted">${text}</li>`)}</ul>
    </div>
  `
}

function Gate({ gate, verdict, code, reason, options }) {
  const set = options.filter(({ level }) => level !== 'default')
  return html`
    <li>
      <div class="line"><span class=${`badge ${GATE_KINDS[verdict] ?? ''}`}>${verdict}</span> <b>${gate}</b> ${code !== null && html`<span class="code">${code}</span>`}</div>
      ${reason !== null && html`<div class="small">${reason}</div>`}
      ${set.map(({ option, value, place, level }) => html`<div class="small muted"><code>${option} = ${value}</code> <code>${place}</code> (${level})</div>`)}
    </li>
  `
}

function Upstream({ upstream, askedBy, method, url, headers, removed }) {
  return html`
    <h3>${askedBy === null ? `Upstream ${upstream}` : `${askedBy} asks ${upstream}`}</h3>
    <div class="scroll" tabindex="0" role="region" aria-label=${`Request to ${upstream}`}>
      <table>
        <thead><tr><th scope="col">${method}</th><th scope="col"><code>${url}</code></th><th scope="col">By</th></tr></thead>
        <tbody>
          ${headers.map(({ name, value, by }) => html`<tr><th scope="row"><code>${name}</code></th><td class="value"><code>${value}</code></td><td>${by ?? 'the client'}</td></tr>`)}
          ${removed.map(({ name, by }) => html`<tr class="idle"><th scope="row"><code>${name}</code></th><td>removed</td><td>${by}</td></tr>`)}
        </tbody>
      </table>
    </div>
  `
}
