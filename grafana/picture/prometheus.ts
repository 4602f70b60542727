/** Prometheus queries and their results as data frames, like those of Grafana's Prometheus data source. */
import { type DataFrame, type Field, FieldType, type Labels, type TimeRange, rangeUtil } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  format?: string;
}

export interface Variable {
  name: string;
  label: string;
  type: string;
  hide?: number;
  query: { query: string } | string;
  regex?: string;
  includeAll?: boolean;
  allValue?: string;
}

/** The selected value of a variable: the text that is shown, and the value that is put into queries. */
export interface Choice {
  text: string;
  value: string;
}

export type Choices = ReadonlyMap<string, Choice>;

interface Series {
  metric: Labels;
  values: Array<[seconds: number, sample: string]>;
}

export class Prometheus {
  /** `interval`: the scrape interval in seconds, which is the least step of a range query. */
  constructor(
    private readonly url: string,
    private readonly range: TimeRange,
    private readonly interval: number
  ) {}

  /** Select a value of each variable: that in `wanted`, given by text or value, else All, else the first one. */
  async choose(variables: Variable[], wanted: URLSearchParams): Promise<Choices> {
    const chosen = new Map<string, Choice>();
    for (const variable of variables) {
      const want = wanted.get(variable.name);
      if (variable.type === 'datasource') {
        chosen.set(variable.name, { text: 'Prometheus', value: 'prometheus' });
      } else if (variable.type === 'textbox') {
        const text = want ?? String(variable.query);
        chosen.set(variable.name, { text, value: text });
      } else if (want === null && variable.includeAll && variable.allValue) {
        chosen.set(variable.name, { text: 'All', value: variable.allValue });
      } else if (want === null && variable.includeAll) {
        const values = (await this.options(variable, chosen)).map(({ value }) => value);
        chosen.set(variable.name, { text: 'All', value: `(${values.join('|')})` });
      } else {
        const options = await this.options(variable, chosen);
        const found = want === null ? options[0] : options.find(({ text, value }) => want === text || want === value);
        if (!found) {
          throw new Error(`${variable.name}: ${want ?? 'a value'} is not one of: ${options.map(({ text }) => text).join(', ')}`);
        }
        chosen.set(variable.name, found);
      }
    }
    return chosen;
  }

  private async options(variable: Variable, chosen: Choices): Promise<Choice[]> {
    const query = typeof variable.query === 'string' ? variable.query : variable.query.query;
    const [, kind, expr, label] = /^(query_result|label_values)\((.*?)(?:, (\w+))?\)$/s.exec(query) ?? [];
    if (expr === undefined) {
      throw new Error(`variable query ${query} is not supported`);
    }
    const series = await this.ask('query', interpolate(expr, chosen), { time: this.seconds('to') });
    const found = series.map(({ metric, values }) =>
      kind === 'label_values' ? (metric[label ?? ''] ?? '') : `${named(metric)} ${values[0]?.[1]} ${values[0]?.[0]}`
    );
    const [, pattern] = /^\/(.*)\/$/s.exec(variable.regex ?? '') ?? [];
    const options = found.map((text) => {
      const groups = pattern === undefined ? undefined : new RegExp(pattern).exec(text)?.groups;
      return { text: groups?.text ?? text, value: groups?.value ?? text };
    });
    return options.sort((one, other) => one.text.localeCompare(other.text));
  }

  /** Run the queries of a panel; its width in `pixels` limits the points of a graph. */
  async frames(targets: Target[], chosen: Choices, pixels: number): Promise<DataFrame[]> {
    const step = rangeUtil.calculateInterval(this.range, pixels, `${this.interval}s`).intervalMs / 1000;
    const globals = new Map(chosen);
    const rate = `${Math.max(step + this.interval, 4 * this.interval)}s`;
    globals.set('__rate_interval', { text: rate, value: rate });
    const range = `${this.seconds('to') - this.seconds('from')}s`;
    globals.set('__range', { text: range, value: range });
    const tables = targets.filter(({ format }) => format === 'table').length;
    const answers = targets.map(async (target) => {
      const expr = interpolate(target.expr, globals);
      const series = await (target.instant
        ? this.ask('query', expr, { time: this.seconds('to') })
        : this.ask('query_range', expr, {
            start: Math.floor(this.seconds('from') / step) * step,
            end: Math.floor(this.seconds('to') / step) * step,
            step,
          }));
      return target.format === 'table'
        ? [table(target.refId, series, tables > 1 ? `Value #${target.refId}` : 'Value')]
        : series.map((each) => line(target, each, step));
    });
    return (await Promise.all(answers)).flat();
  }

  private seconds(end: 'from' | 'to'): number {
    return this.range[end].valueOf() / 1000;
  }

  private async ask(path: string, query: string, parameters: Record<string, number>): Promise<Series[]> {
    const body = new URLSearchParams({ query });
    Object.entries(parameters).forEach(([name, value]) => body.set(name, String(value)));
    const answer = await (await fetch(`${this.url}/api/v1/${path}`, { method: 'POST', body })).json();
    if (answer.status !== 'success') {
      throw new Error(`${answer.error} in ${query}`);
    }
    return answer.data.result.map((each: Series & { value: Series['values'][number] }) => ({
      metric: each.metric,
      values: each.values ?? [each.value],
    }));
  }
}

function interpolate(expr: string, chosen: Choices): string {
  return expr.replace(/\$([a-z_]\w*)/g, (_, name) => {
    const choice = chosen.get(name);
    if (!choice) {
      throw new Error(`variable $${name} has no value`);
    }
    return choice.value;
  });
}

function named({ __name__ = '', ...labels }: Labels): string {
  return `${__name__}{${Object.entries(labels).map(([name, value]) => `${name}="${value}"`).join(', ')}}`;
}

function line(target: Target, { metric, values }: Series, step: number): DataFrame {
  const legend = target.legendFormat?.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');
  return {
    refId: target.refId,
    length: values.length,
    fields: [
      { ...time(values), config: { interval: step * 1000 } },
      {
        name: 'Value',
        type: FieldType.number,
        labels: metric,
        config: { displayNameFromDS: legend ?? named(metric) },
        values: values.map(([, sample]) => Number(sample)),
      },
    ],
  };
}

function table(refId: string, series: Series[], name: string): DataFrame {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric).sort()))];
  const samples = series.flatMap(({ values }) => values);
  return {
    refId,
    length: series.length,
    fields: [
      time(samples),
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        config: { filterable: true },
        values: series.map(({ metric }) => metric[label] ?? ''),
      })),
      { name, type: FieldType.number, config: {}, values: samples.map(([, sample]) => Number(sample)) },
    ],
  };
}

function time(samples: Series['values']): Field {
  return { name: 'Time', type: FieldType.time, config: {}, values: samples.map(([seconds]) => seconds * 1000) };
}
