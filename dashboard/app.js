import { Actions, Operations, TokenForm } from './actions.js'
import { Chart } from './charts.js'
import { Config } from './config.js'
import { Feed } from './data.js'
import { Explain } from './explain.js'
import { bytes, count, countOf, duration, millis, percent, rate } from './format.js'
import { Component, html, render } from './html.js'
import { Caches, Certificates, Limits, Refusals, Reloads, Tile } from './panels.js'
import { Routes } from './routes.js'
import { Upstreams } from './upstreams.js'

class App extends Component {
  #feed = new Feed(() => this.setState({}))
  state = { proposal: null, wanted: null }

  componentDidMount() {
    void this.#feed.poll()
  }

  render() {
    const feed = this.#feed
    const { head, state } = feed
    if (state === 'locked')
      return html`<${TokenForm}
        onToken=${async (token) => {
          await feed.unlock(token)
          return feed.state !== 'locked'
        }}
      />`
    if (head === null)
      return html`<main class="locked"><p>${state === 'lost' ? 'The gateway does not answer.' : 'Connecting …'}</p></main>`
    const propose = (proposal) => this.setState({ proposal })
    const isCounting = head.bounds !== null
    const routes = feed.rows('routes')
    return html`
      <${Header} feed=${feed} />
      <main>
        <${Tiles} feed=${feed} />
        ${
          !isCounting &&
          html`<p class="panel hint">
            Statuses, latencies and the figures of routes need <code>"metrics": true</code> at the root of the config.
          </p>`
        }
        <div class="grid charts"><${Charts} points=${feed.points} isCounting=${isCounting} /></div>
        <div class="grid columns">
          <div class="grid main">
            <${Routes} status=${feed.status} rows=${routes} isCounting=${isCounting} />
            <div class="grid pair">
              <div class="grid">
                <${Limits} limits=${feed.limits} routes=${routes} isCounting=${isCounting} />
                <${Caches} rows=${feed.rows('caches')} memory=${head.cacheMemory} />
              </div>
              <div class="grid">
                <${Certificates} certificates=${feed.status?.certificates ?? []} now=${head.at} />
                <${Reloads} reloads=${feed.reloads} startedAt=${head.startedAt} now=${head.at} />
                <${Operations}
                  mayAct=${head.mayAct}
                  logLevel=${head.logLevel}
                  hasCache=${head.cacheMemory !== null}
                  propose=${propose}
                />
              </div>
            </div>
          </div>
          <div class="grid side">
            <${Upstreams} rows=${feed.rows('upstreams')} mayAct=${head.mayAct} propose=${propose} />
            <${Refusals}
              rows=${feed.rows('refusals')}
              now=${head.at}
              explain=${(wanted) => this.setState({ wanted })}
            />
          </div>
        </div>
        <${Explain} mayAct=${head.mayAct} wanted=${this.state.wanted} />
        <${Config} version=${`${head.startedAt} ${head.generation}`} />
      </main>
      <${Actions}
        proposal=${this.state.proposal}
        onDone=${() => feed.poll()}
      />
    `
  }
}

function Header({ feed }) {
  const { head, status, state } = feed
  const isLive = state === 'live'
  const facts = [
    `version ${head.version}`,
    `up ${duration((head.at - Date.parse(head.startedAt)) / 1000)}`,
    head.workers === 1 ? 'one process' : `${head.workers} workers`,
    `config ${head.generation}`,
    ...(head.store === 'memory' ? [] : [head.store === 'up' ? 'store up' : 'store unavailable']),
    ...(status === null ? [] : [`Node.js ${status.node}`])
  ]
  return html`
    <header>
      <img src="dashboard/icon.svg" alt="" width="24" height="24" />
      <h1>Sallyport</h1>
      <span class="muted">${location.host}</span>
      <span class=${`badge ${isLive ? (head.draining ? 'warn' : 'good') : 'bad'}`} role="status">
        ${isLive ? (head.draining ? 'draining' : 'live') : 'no answer, showing the last figures'}
      </span>
      <span class="facts muted small">${facts.join(' · ')}</span>
      ${feed.hasToken && html`<button type="button" class="small" onClick=${() => feed.lock()}>Forget the token</button>`}
    </header>
  `
}

function Tiles({ feed }) {
  const { head } = feed
  const { rate: perSecond, refusedShare, errorShare, p50, p95, p99 } = feed.totals()
  const connections =
    countOf(head.connections, 'connection') +
    (head.webSockets > 0 ? `, ${countOf(head.webSockets, 'WebSocket')}` : '')
  return html`
    <dl class="tiles">
      <${Tile} label="Requests/s" value=${rate(perSecond)} note=${`${count(head.requests)} in total`} />
      <${Tile} label="Errors (5xx)" value=${percent(errorShare)} kind=${errorShare > 0.01 ? 'bad' : errorShare > 0 ? 'warn' : ''} note=${`${count(head.refused.server)} by the gateway`} />
      <${Tile} label="Refused (4xx)" value=${percent(refusedShare)} kind=${refusedShare > 0.2 ? 'warn' : ''} note=${`${count(head.refused.client)} by the gateway`} />
      ${
        head.bounds !== null &&
        html`
          <${Tile} label="p50" value=${millis(p50)} note="half are faster" />
          <${Tile} label="p95" value=${millis(p95)} note="95% are faster" />
          <${Tile} label="p99" value=${millis(p99)} note="99% are faster" />
        `
      }
      <${Tile} label="In flight" value=${count(head.inFlight)} note=${connections} />
      <${Tile} label="Memory" value=${bytes(head.memoryBytes)} note=${head.workers === 1 ? 'of the process' : 'of all workers'} />
    </dl>
  `
}

function Charts({ points, isCounting }) {
  const { time, ok, refused, failed, p50, p95, p99, inFlight } = points
  const requests = [
    {
      label: isCounting ? 'answered' : 'others',
      key: 'ok',
      colour: '--blue',
      fill: '--blue-fill',
      values: ok
    },
    { label: isCounting ? '4xx' : 'refused', key: 'refused', colour: '--amber', values: refused },
    { label: isCounting ? '5xx' : 'failed', key: 'failed', colour: '--red', values: failed }
  ]
  const latency = [
    { label: 'p50', key: 'p50', colour: '--blue', values: p50 },
    { label: 'p95', key: 'p95', colour: '--violet', values: p95 },
    { label: 'p99', key: 'p99', colour: '--amber', values: p99 }
  ]
  const load = [{ label: 'in flight', key: 'ok', colour: '--blue', fill: '--blue-fill', values: inFlight }]
  return html`
    <${Chart} key="requests" title="Requests per second" time=${time} series=${requests} format=${rate} />
    ${
      isCounting
        ? html`<${Chart} key="latency" title="Latency" isLogarithmic time=${time} series=${latency} format=${millis} />`
        : html`<${Chart} key="load" title="Requests in flight" isWhole time=${time} series=${load} format=${(value) => (value === null ? '–' : count(value))} />`
    }
  `
}

render(html`<${App} />`, document.getElementById('app'))
