import { clock } from './format.js'
import { Component, html } from './html.js'
import uPlot from './uplot.js'

const HEIGHT = 190
// Rows of the table beside a chart.
const TABLE_ROWS = 30

/** Lists the powers of ten on a scale, for its lines. */
function powersOfTen(_plot, _axis, min, max) {
  const powers = []
  for (let power = 10 ** Math.floor(Math.log10(min)); power <= max * 1.01; power *= 10) powers.push(power)
  return powers
}

// uPlot gives a single point a scale of a day.
const SHORTEST_SECONDS = 10

// Steps between the lines of a scale of whole numbers.
const WHOLE_STEPS = Array.from({ length: 10 }, (_, power) =>
  [1, 2, 5].map((step) => step * 10 ** power)
).flat()

const dark = matchMedia('(prefers-color-scheme: dark)')
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** A chart over time, with a table of the same numbers. `series` has a label, a colour variable and values for each line; values on a logarithmic scale are above 0 or null. */
export class Chart extends Component {
  #plot
  #resized = new ResizeObserver(() => this.#resize())
  #draw = () => this.#create()

  componentDidMount() {
    this.#create()
    this.#resized.observe(this.holder)
    dark.addEventListener('change', this.#draw)
  }

  componentDidUpdate() {
    this.#plot?.setData(this.#data())
  }

  componentWillUnmount() {
    this.#resized.disconnect()
    dark.removeEventListener('change', this.#draw)
    this.#plot?.destroy()
  }

  #data() {
    const { time, series } = this.props
    const data = [time, ...series.map(({ values }) => values)]
    return time.length === 1
      ? data.map(([only], i) => [i === 0 ? only - SHORTEST_SECONDS : null, only])
      : data
  }

  #resize() {
    const { clientWidth: width } = this.holder
    if (width > 0) this.#plot?.setSize({ width, height: HEIGHT })
  }

  /** Draws the chart in the colours of the current scheme, which are fixed once it is made. */
  #create() {
    this.#plot?.destroy()
    const { series, format, isLogarithmic = false, isWhole = false } = this.props
    const axis = {
      stroke: color('--muted'),
      font: '11px system-ui, sans-serif',
      grid: { stroke: color('--line'), width: 1 },
      ticks: { show: false }
    }
    this.#plot = new uPlot(
      {
        width: Math.max(200, this.holder.clientWidth),
        height: HEIGHT,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 } },
        scales: {
          y: isLogarithmic ? { distr: 3 } : { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] }
        },
        axes: [
          { ...axis, size: 24, values: (_plot, times) => times.map((time) => clock(time * 1000)), space: 90 },
          {
            ...axis,
            size: 60,
            ...(isLogarithmic ? { splits: powersOfTen } : {}),
            ...(isWhole ? { incrs: WHOLE_STEPS } : {}),
            values: (_plot, values) => values.map((value) => (value === null ? '' : format(value)))
          }
        ],
        series: [
          {},
          ...series.map(({ label, colour, fill, dash }) => ({
            label,
            stroke: color(colour),
            width: 1.75,
            points: { show: false },
            ...(dash === undefined ? {} : { dash }),
            ...(fill === undefined ? {} : { fill: color(fill) })
          }))
        ]
      },
      this.#data(),
      this.holder
    )
  }

  render({ title, time, series, format }, { isOpen = false }) {
    const latest = (values) => format(values.at(-1) ?? null)
    const rows = isOpen
      ? time
          .map((at, i) => [at, i])
          .slice(-TABLE_ROWS)
          .reverse()
      : []
    return html`
      <section class="panel chart">
        <div class="panel-head">
          <h2>${title}</h2>
          <ul class="legend">
            ${series.map(
              ({ label, key, values }) =>
                html`<li><i class=${`key ${key}`}></i>${label} <b>${latest(values)}</b></li>`
            )}
          </ul>
        </div>
        <div
          class="plot"
          role="img"
          aria-label=${`${title}: ${series.map(({ label, values }) => `${label} ${latest(values)}`).join(', ')}`}
          ref=${(element) => {
            this.holder = element
          }}
        ></div>
        <details onToggle=${({ currentTarget }) => this.setState({ isOpen: currentTarget.open })}>
          <summary>${title} as a table</summary>
          <div class="scroll" tabindex="0" role="region" aria-label=${`${title} as a table`}>
            <table>
              <thead>
                <tr>
                  <th scope="col">Time</th>
                  ${series.map(({ label }) => html`<th scope="col" class="number">${label}</th>`)}
                </tr>
              </thead>
              <tbody>
                ${rows.map(
                  ([at, i]) => html`
                    <tr key=${at}>
                      <td>${clock(at * 1000)}</td>
                      ${series.map(({ values }) => html`<td class="number">${format(values[i])}</td>`)}
                    </tr>
                  `
                )}
              </tbody>
            </table>
          </div>
        </details>
      </section>
    `
  }
}
