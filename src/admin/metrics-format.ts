import type { Exemplar, MetricFamily, MetricValue } from '../lib/contracts/metrics.ts'
import { preferredOffer } from '../lib/http/accept.ts'

/** Combines the metrics of all processes and formats them: as OpenMetrics, which has exemplars, where Accept prefers it, else in the text format of Prometheus. */
export async function formatMetrics(
  each: readonly (readonly MetricFamily[])[],
  accept: string | undefined
): Promise<{ type: string; text: string }> {
  const { AggregatorRegistry, Registry } = await import('prom-client')
  const { PROMETHEUS_CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE } = Registry
  const type = preferredOffer(accept, [
    { value: PROMETHEUS_CONTENT_TYPE, types: ['text/plain'] },
    { value: OPENMETRICS_CONTENT_TYPE, types: ['application/openmetrics-text'] }
  ])
  if (type !== OPENMETRICS_CONTENT_TYPE) {
    const registry = AggregatorRegistry.aggregate(each.map((families) => families.map(withAggregator)))
    return { type: PROMETHEUS_CONTENT_TYPE, text: await registry.metrics() }
  }
  const registry = AggregatorRegistry.aggregate(
    each.map((families) => families.map(withoutTotal).map(withAggregator))
  )
  registry.setContentType(OPENMETRICS_CONTENT_TYPE)
  for (const { name, values } of each.flatMap(onlyWithExemplars)) {
    const combined = (await registry.getSingleMetric(name)?.get())?.values as MutableValue[] | undefined
    addExemplars(combined ?? [], values)
  }
  return { type: OPENMETRICS_CONTENT_TYPE, text: await registry.metrics() }
}

// A metric without an aggregator has one process only; prom-client wants one for each.
const withAggregator = (family: MetricFamily): object => ({
  ...family,
  aggregator: family.aggregator ?? 'sum'
})

// The name of a counter is without "_total", which prom-client adds to each of its series (OpenMetrics 1.0).
const withoutTotal = (family: MetricFamily): MetricFamily =>
  family.type === 'counter' ? { ...family, name: family.name.replace(/_total$/, '') } : family

type MutableValue = Omit<MetricValue, 'exemplar'> & { exemplar?: Exemplar | null }

const onlyWithExemplars = (families: readonly MetricFamily[]): MetricFamily[] =>
  families
    .map((family) => ({ ...family, values: family.values.filter(hasExemplar) }))
    .filter(({ values }) => values.length > 0)

// The histograms of prom-client itself, such as that of garbage collections, say null for none.
const hasExemplar = ({ exemplar }: MutableValue): boolean => exemplar !== undefined && exemplar !== null

/** Adds the exemplars of one process to the combined values, since prom-client drops them; the latest wins. */
function addExemplars(combined: readonly MutableValue[], values: readonly MetricValue[]): void {
  const byKey = new Map(values.map((value) => [keyOf(value), value.exemplar]))
  for (const value of combined) {
    const exemplar = byKey.get(keyOf(value))
    if (exemplar && exemplar.timestamp > (value.exemplar?.timestamp ?? 0)) value.exemplar = exemplar
  }
}

const keyOf = ({ metricName = '', labels }: Omit<MetricValue, 'exemplar'>): string =>
  JSON.stringify([metricName, ...Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1))])
