import { Options } from './config.js'
import { count, millis, percent, rate } from './format.js'
import { Component, html } from './html.js'

const SHOWN = 15

const COLUMNS = [
  { key: 'name', label: 'Route', of: ({ name }) => name },
  { key: 'rate', label: 'Requests/s', of: ({ figures }) => -(figures?.rate ?? -1) },
  { key: 'refused', label: '4xx', of: ({ figures }) => -(figures?.refusedShare ?? -1) },
  { key: 'errors', label: '5xx', of: ({ figures }) => -(figures?.errorShare ?? -1) },
  { key: 'p50', label: 'p50', of: ({ figures }) => -(figures?.p50 ?? -1) },
  { key: 'p95', label: 'p95', of: ({ figures }) => -(figures?.p95 ?? -1) },
  { key: 'p99', label: 'p99', of: ({ figures }) => -(figures?.p99 ?? -1) },
  { key: 'total', label: 'Total', of: ({ figures }) => -(figures?.total ?? -1) },
  { key: 'gates', label: 'Target and gates, in order' }
]

/** The routes with their gates and figures. */
export class Routes extends Component {
  state = { filter: '', sort: 'rate', isAll: false, open: null }

  render({ status, rows, isCounting }, { filter, sort, isAll, open }) {
    const byName = new Map(
      rows.map((row) => [row.name, { ...row, total: row.responses.reduce((sum, each) => sum + each, 0) }])
    )
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean)
    const found = listed(status, byName).filter((route) => words.every((word) => route.text.includes(word)))
    const { of } = COLUMNS.find(({ key }) => key === sort)
    found.sort((one, other) => {
      const [a, b] = [of(one), of(other)]
      return (a < b ? -1 : a > b ? 1 : 0) || (one.name < other.name ? -1 : 1)
    })
    const shown = isAll ? found : found.slice(0, SHOWN)
    const most = Math.max(...found.map(({ figures }) => figures?.rate ?? 0), 0.001)
    const shared = sharedGates(status)
    const columns = COLUMNS.filter(({ key }) => isCounting || key === 'name' || key === 'gates')
    return html`
      <section class="panel routes">
        <div class="panel-head">
          <h2>Routes <span class="muted">${found.length}</span></h2>
          <input
            type="search"
            aria-label="Find routes by name, path, target or gate"
            placeholder="Find a route"
            value=${filter}
            onInput=${({ currentTarget }) => this.setState({ filter: currentTarget.value })}
          />
        </div>
        <div class="scroll" tabindex="0" role="region" aria-label="Routes">
          <table class="wide">
            <thead>
              <tr>
                ${columns.map(
                  ({ key, label, of: value }) => html`
                    <th scope="col" class=${value === undefined ? 'chips' : key === 'name' ? '' : 'number'} aria-sort=${sort === key ? (key === 'name' ? 'ascending' : 'descending') : undefined}>
                      ${
                        value === undefined
                          ? label
                          : html`<button type="button" class="sort" onClick=${() => this.setState({ sort: key })}>${label}</button>`
                      }
                    </th>
                  `
                )}
              </tr>
            </thead>
            <tbody>
              ${shown.map((route) => [
                html`<${RouteRow}
                  key=${route.key}
                  route=${route}
                  most=${most}
                  shared=${shared}
                  isCounting=${isCounting}
                  isOpen=${open === route.key}
                  onToggle=${() => this.setState({ open: open === route.key ? null : route.key })}
                />`,
                open === route.key &&
                  html`<tr key=${`${route.key} options`} class="inner"><td colspan=${columns.length}><${Options} route=${route.name} /></td></tr>`
              ])}
            </tbody>
          </table>
        </div>
        ${
          found.length > SHOWN &&
          html`<button type="button" class="more" onClick=${() => this.setState({ isAll: !isAll })}>
            ${isAll ? `Show ${SHOWN} routes` : `Show all ${found.length} routes`}
          </button>`
        }
        ${found.length === 0 && html`<p class="hint">${filter === '' ? 'The config has no routes.' : 'No route has these words.'}</p>`}
      </section>
    `
  }
}

/** Lists the routes of the config and the built-in ones that have had requests. */
function listed(status, byName) {
  const routes = (status?.routes ?? []).filter(({ name, target }) => target !== null || byName.has(name))
  return routes.map((route, i) => {
    const { name, paths, hosts, methods, target, gates } = route
    return {
      ...route,
      key: `${name} ${i}`,
      figures: byName.get(name),
      text: [name, ...paths, ...hosts, ...(methods ?? []), target ?? 'built-in', ...gates]
        .join(' ')
        .toLowerCase()
    }
  })
}

/** Returns the gates that every route of the config has; where a route differs is what matters. */
function sharedGates(status) {
  const [first, ...others] = (status?.routes ?? []).filter(({ target }) => target !== null)
  return new Set(
    others.length === 0 ? [] : first.gates.filter((gate) => others.every(({ gates }) => gates.includes(gate)))
  )
}

function RouteRow({ route, most, shared, isCounting, isOpen, onToggle }) {
  const { name, paths, hosts, methods, target, gates, figures } = route
  const own = paths.filter((path) => path !== name)
  const match = [
    ...(methods === null
      ? []
      : [methods.filter((method) => method !== 'HEAD' || methods.length === 1).join(' ')]),
    ...hosts,
    ...own
  ]
  return html`
    <tr class=${figures && figures.rate > 0 ? '' : 'idle'}>
      <th scope="row">
        ${
          target === null
            ? html`<span class="name">${name}</span>`
            : html`<button type="button" class="link name" aria-expanded=${isOpen} onClick=${onToggle}>${name}</button>`
        }
        ${match.length > 0 && html`<div class="muted small">${match.join(' · ')}</div>`}
      </th>
      ${
        isCounting &&
        html`
          <td class="number">
            ${rate(figures?.rate ?? 0)}
            <span class="bar" style=${{ width: `${Math.round((100 * (figures?.rate ?? 0)) / most)}%` }}></span>
          </td>
          <td class=${`number ${figures?.refusedShare > 0 ? 'warn' : ''}`}>${percent(figures?.refusedShare ?? null)}</td>
          <td class=${`number ${figures?.errorShare > 0 ? 'bad' : ''}`}>${percent(figures?.errorShare ?? null)}</td>
          <td class="number">${millis(figures?.p50 ?? null)}</td>
          <td class="number">${millis(figures?.p95 ?? null)}</td>
          <td class="number">${millis(figures?.p99 ?? null)}</td>
          <td class="number">${count(figures?.total ?? 0)}</td>
        `
      }
      <td class="chips">
        <span class="chip target">${target ?? 'built-in'}</span>
        ${gates.map((gate) => html`<span class=${shared.has(gate) ? 'shared' : 'chip'}>${gate}</span>`)}
      </td>
    </tr>
  `
}
