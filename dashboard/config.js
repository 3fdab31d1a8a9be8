import { ask } from './data.js'
import { Component, html } from './html.js'

/** The resolved options of the root or of a route, each with where it comes from. */
export class Options extends Component {
  state = { parts: null, error: '', isAll: false, filter: '' }

  componentDidMount() {
    void this.#read()
  }

  componentDidUpdate({ route, version }) {
    if (route !== this.props.route || version !== this.props.version) void this.#read()
  }

  async #read() {
    const { route } = this.props
    const path = route === null ? 'options' : `options?route=${encodeURIComponent(route)}`
    try {
      const parts = await ask(path)
      if (route === this.props.route) this.setState({ parts, error: '' })
    } catch (error) {
      this.setState({ parts: null, error: error.message })
    }
  }

  render({ route }, { parts, error, isAll, filter }) {
    if (error !== '') return html`<p class="error">${error}</p>`
    if (parts === null) return html`<p class="hint">Reading …</p>`
    const wanted = filter.toLowerCase()
    return html`
      <div class="options">
        <div class="options-head">
          <label><input type="checkbox" checked=${isAll} onChange=${() => this.setState({ isAll: !isAll })} /> Also defaults</label>
          <input
            type="search"
            aria-label="Find options"
            placeholder="Find an option"
            value=${filter}
            onInput=${({ currentTarget }) => this.setState({ filter: currentTarget.value })}
          />
        </div>
        ${parts.map(({ place, options }) => {
          const shown = options.filter(
            ({ path, from }) => (isAll || from !== 'default') && path.toLowerCase().includes(wanted)
          )
          return html`
            ${place !== null && html`<p class="small muted">The route is at <code>${place}</code></p>`}
            <div class="scroll" tabindex="0" role="region" aria-label=${`Options of ${route ?? 'the gateway'}`}>
              <table>
                <thead>
                  <tr><th scope="col">Option</th><th scope="col">Value</th><th scope="col">From</th></tr>
                </thead>
                <tbody>
                  ${shown.map(
                    ({ path, value, from }) => html`
                      <tr key=${path} class=${from === 'default' ? 'idle' : ''}>
                        <th scope="row"><code>${path}</code></th>
                        <td class="value"><code>${value}</code></td>
                        <td><code>${from}</code></td>
                      </tr>
                    `
                  )}
                </tbody>
              </table>
            </div>
            ${shown.length === 0 && html`<p class="hint">${filter === '' ? 'All options have their defaults.' : 'No option has this in its name.'}</p>`}
          `
        })}
      </div>
    `
  }
}

/** The resolved config: the options of the root, which a select exchanges for those of a route. */
export class Config extends Component {
  state = { isOpen: false }

  render({ version }, { isOpen }) {
    return html`
      <section class="panel">
        <details onToggle=${({ currentTarget }) => this.setState({ isOpen: currentTarget.open })}>
          <summary><h2>Resolved config</h2></summary>
          <p class="hint">
            The options at the root, with where each value came from. Secrets are masked. For the options of a route,
            choose its name among the routes above; <code>/config</code> has the whole config as JSON.
          </p>
          ${isOpen && html`<${Options} route=${null} version=${version} />`}
        </details>
      </section>
    `
  }
}
