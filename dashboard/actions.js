import { ask } from './data.js'
import { Component, html } from './html.js'

/** Asks for confirmation of each action that is proposed, runs it, and tells the result. `path` and `body` are the request; `done` makes the text of its success. */
export class Actions extends Component {
  state = { notice: null, isBusy: false }
  #dialog

  componentDidUpdate({ proposal }) {
    if (proposal !== this.props.proposal) this.#dialog.showModal()
  }

  async #run() {
    const { proposal: wanted } = this.props
    this.setState({ isBusy: true })
    try {
      const answer = await ask(wanted.path, wanted.body)
      this.setState({ notice: { text: wanted.done(answer), kind: 'good' } })
    } catch (error) {
      const faults = error.faults ?? []
      this.setState({ notice: { text: [error.message, ...faults.slice(1)].join('\n'), kind: 'bad' } })
    }
    this.setState({ isBusy: false })
    this.#dialog?.close()
    this.props.onDone()
  }

  render({ proposal: wanted }, { notice, isBusy }) {
    return html`
      <dialog
        aria-labelledby="action-title"
        ref=${(element) => {
          this.#dialog = element
        }}
      >
        <h2 id="action-title">${wanted?.title}</h2>
        <p>${wanted?.text}</p>
        ${wanted?.warning && html`<p class="warning">${wanted.warning}</p>`}
        <div class="buttons">
          <button type="button" onClick=${() => this.#dialog.close()}>Cancel</button>
          <button type="button" class="primary" disabled=${isBusy} onClick=${() => this.#run()}>${wanted?.verb}</button>
        </div>
      </dialog>
      <div role="status" class="notices">
        ${
          notice &&
          html`
            <div class=${`notice ${notice.kind}`}>
              <pre>${notice.text}</pre>
              <button type="button" onClick=${() => this.setState({ notice: null })}>Close</button>
            </div>
          `
        }
      </div>
    `
  }
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Reloads, purges and changes the level of the log; without a token, says how to get one. */
export class Operations extends Component {
  state = { level: '', kind: 'tags', names: '' }

  #changeLevel(event) {
    event.preventDefault()
    const level = this.state.level || this.props.logLevel
    this.props.propose({
      title: `Change the log level to ${level}?`,
      text: 'It applies to all processes, until the gateway restarts.',
      verb: 'Change',
      path: 'log-level',
      body: { level },
      done: () => `The log level is ${level} now.`
    })
  }

  #purge(event) {
    event.preventDefault()
    const { kind, names } = this.state
    const list = names
      .split(/[\n,]/)
      .map((name) => name.trim())
      .filter(Boolean)
    this.props.propose({
      title: kind === 'all' ? 'Purge all stored responses?' : `Purge by ${KINDS[kind].toLowerCase()}?`,
      text: kind === 'all' ? 'Every response is requested from its upstream again.' : list.join(', '),
      verb: 'Purge',
      path: 'purge',
      body: kind === 'all' ? { all: true } : { [kind]: kind === 'prefix' ? list[0] : list },
      done: ({ purged }) => `Purged ${purged === 1 ? 'one name' : `${purged} names`}.`
    })
  }

  render({ mayAct, logLevel, hasCache, propose }, { level, kind, names }) {
    if (!mayAct)
      return html`
        <section class="panel">
          <div class="panel-head"><h2>Operations</h2></div>
          <p class="hint">
            This page is read-only. To drain targets, reload, purge and change the log level from here, set${' '}
            <code>ADMIN_TOKEN</code> in the environment of the gateway, restart it, and enter the token here.
          </p>
        </section>
      `
    return html`
      <section class="panel">
        <div class="panel-head"><h2>Operations</h2></div>
        <div class="operations">
          <form onSubmit=${(event) => this.#changeLevel(event)}>
            <label>
              Log level
              <select value=${level || logLevel} onChange=${({ currentTarget }) => this.setState({ level: currentTarget.value })}>
                ${LEVELS.map((each) => html`<option value=${each}>${each}${each === logLevel ? ' (now)' : ''}</option>`)}
              </select>
            </label>
            <button>Change</button>
          </form>
          <form
            onSubmit=${(event) => {
              event.preventDefault()
              propose({
                title: 'Reload the config?',
                text: 'The gateway reads its config again. If it has errors, the current one stays.',
                verb: 'Reload',
                path: 'reload',
                body: {},
                done: () => 'The config was reloaded.'
              })
            }}
          >
            <span class="label">Config</span>
            <button>Reload</button>
          </form>
          ${
            hasCache &&
            html`
              <form onSubmit=${(event) => this.#purge(event)}>
                <label>
                  Purge by
                  <select value=${kind} onChange=${({ currentTarget }) => this.setState({ kind: currentTarget.value })}>
                    ${Object.entries(KINDS).map(([value, label]) => html`<option value=${value}>${label}</option>`)}
                  </select>
                </label>
                ${
                  kind !== 'all' &&
                  html`<input
                    aria-label=${KINDS[kind]}
                    placeholder=${EXAMPLES[kind]}
                    value=${names}
                    required
                    onInput=${({ currentTarget }) => this.setState({ names: currentTarget.value })}
                  />`
                }
                <button>Purge</button>
              </form>
            `
          }
        </div>
      </section>
    `
  }
}

const KINDS = { tags: 'Tags', urls: 'URLs', prefix: 'URL prefix', all: 'Everything' }
const EXAMPLES = { tags: 'orders, prices', urls: '/orders/1', prefix: '/orders/' }

/** Asks for the token, which stays in this tab. */
export class TokenForm extends Component {
  state = { token: '', isRefused: false }

  async #submit(event) {
    event.preventDefault()
    const isAccepted = await this.props.onToken(this.state.token)
    this.setState({ isRefused: !isAccepted })
  }

  render(_props, { token, isRefused }) {
    return html`
      <main class="locked">
        <form class="panel" onSubmit=${(event) => this.#submit(event)}>
          <h1>Sallyport</h1>
          <p>The admin listener of this gateway needs its token: the value of <code>ADMIN_TOKEN</code> in its environment.</p>
          <label>
            Token
            <input
              type="password"
              autocomplete="off"
              required
              value=${token}
              onInput=${({ currentTarget }) => this.setState({ token: currentTarget.value, isRefused: false })}
            />
          </label>
          <p class="error" role="alert">${isRefused ? 'This is not the token of the gateway.' : ''}</p>
          <button class="primary">Open</button>
          <p class="hint">It is kept in this tab, and forgotten when you close it.</p>
        </form>
      </main>
    `
  }
}
