/**
 * Draws a dashboard like Grafana: from its JSON, with Grafana's data pipeline and components.
 *
 * Query parameters of the page: dashboard (a uid), prometheus (a URL), from and to (Unix milliseconds), step
 * (seconds), and var-NAME, the value of a dashboard variable. The page's title is "drawing", then "drawn" or an error.
 */
import {
  type DataFrame,
  type DataTransformerConfig,
  type FieldConfigSource,
  type GrafanaTheme2,
  type PanelPlugin,
  type TimeRange,
  ThemeContext,
  applyFieldOverrides,
  applyNullInsertThreshold,
  cacheFieldDisplayNames,
  createTheme,
  dateTime,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  getPanelOptionsWithDefaults,
  getValueFormats,
  nullToValue,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, Icon, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';

import { PLUGINS, start } from './plugins';
import { type Choices, Prometheus, type Target, type Variable } from './prometheus';
import { StateTimeline } from './timeline';

interface Panel {
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets: Target[];
  transformations?: DataTransformerConfig[];
  fieldConfig: FieldConfigSource;
  options?: any; // depends on the panel's type
}

interface Dashboard {
  title: string;
  panels: Panel[];
  templating: { list: Variable[] };
}

// Grafana's grid of 24 columns.
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
const PADDING = 16;

// A variable's `hide` in the dashboard's JSON; 1 hides only its label.
const HIDE_VARIABLE = 2;

const timeZone = 'browser';
const replaceVariables = (text: string) => text;

interface Drawing {
  panel: Panel;
  data: DataFrame[];
  fieldConfig: FieldConfigSource;
  options: any;
  theme: GrafanaTheme2;
  timeRange: TimeRange;
}

/** Return the units, transformations, and overridden properties that do not exist; Grafana ignores them silently. */
function unknown({ fieldConfig, transformations = [] }: Panel, plugin: PanelPlugin): string[] {
  const known = new Set(getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));
  const properties = fieldConfig.overrides.flatMap((rule) => rule.properties);
  const units = [
    ...(fieldConfig.defaults.unit ? [fieldConfig.defaults.unit] : []),
    ...properties.filter(({ id }) => id === 'unit').map(({ value }) => value),
  ];
  return [
    ...units.filter((unit) => !known.has(unit)),
    ...transformations.map(({ id }) => id).filter((id) => !standardTransformersRegistry.getIfExists(id)),
    ...properties.map(({ id }) => id).filter((id) => !plugin.fieldConfigRegistry.getIfExists(id)),
  ];
}

async function prepare(
  panel: Panel,
  frames: DataFrame[],
  theme: GrafanaTheme2,
  timeRange: TimeRange
): Promise<Drawing> {
  const plugin = PLUGINS[panel.type];
  if (!plugin) {
    throw new Error(`panel type ${panel.type} is not supported`);
  }
  const strangers = unknown(panel, plugin);
  if (strangers.length) {
    throw new Error(`${panel.title}: Grafana does not know ${strangers.join(', ')}`);
  }
  const { options, fieldConfig } = getPanelOptionsWithDefaults({
    plugin,
    currentOptions: panel.options ?? {},
    currentFieldConfig: panel.fieldConfig,
    isAfterPluginChange: false,
  });
  const data = applyFieldOverrides({
    data: await lastValueFrom(transformDataFrame(panel.transformations ?? [], frames)),
    fieldConfig,
    fieldConfigRegistry: plugin.fieldConfigRegistry,
    replaceVariables,
    theme,
    timeZone,
  });
  cacheFieldDisplayNames(data);
  return { panel, data, fieldConfig, options, theme, timeRange };
}

/** Insert nulls where samples are missing. The charts do this themselves, but in the first frame only. */
function withGaps(frame: DataFrame, { from, to }: TimeRange): DataFrame {
  return nullToValue(
    applyNullInsertThreshold({ frame, refFieldPseudoMin: from.valueOf(), refFieldPseudoMax: to.valueOf() })
  );
}

function content({ panel, data, fieldConfig, options, theme, timeRange }: Drawing, width: number, height: number) {
  const [first] = data;
  const size = { width, height };
  if (panel.type === 'stat') {
    return (
      <VizRepeater
        {...size}
        autoGrid
        orientation={options.orientation}
        renderCounter={0}
        source={data}
        getAlignmentFactors={getDisplayValueAlignmentFactors}
        getValues={() =>
          getFieldDisplayValues({
            data,
            fieldConfig,
            reduceOptions: options.reduceOptions,
            replaceVariables,
            theme,
            timeZone,
          })
        }
        renderValue={({ value, alignmentFactors, count, ...inner }) => (
          <BigValue
            {...inner}
            value={value.display}
            count={count}
            alignmentFactors={alignmentFactors}
            colorMode={options.colorMode}
            graphMode={options.graphMode}
            justifyMode={options.justifyMode}
            textMode={options.textMode}
            disableWideLayout={!options.wideLayout}
            theme={theme}
          />
        )}
      />
    );
  }
  if (!first?.length) {
    return <p style={{ textAlign: 'center', lineHeight: `${height}px` }}>No data</p>;
  }
  switch (panel.type) {
    case 'table':
      return (
        <TableNG
          {...size}
          data={first}
          fieldConfig={fieldConfig}
          cellHeight={options.cellHeight}
          sortBy={options.sortBy}
        />
      );
    case 'timeseries':
      return (
        <TimeSeries
          {...size}
          frames={data.map((frame) => withGaps(frame, timeRange))}
          timeRange={timeRange}
          timeZone={timeZone}
          legend={options.legend}
        />
      );
    default:
      return (
        <StateTimeline
          {...size}
          frames={data.slice(0, options.perPage).map((frame) => withGaps(frame, timeRange))}
          legend={options.legend}
          rowHeight={options.rowHeight}
          theme={theme}
          timeRange={timeRange}
          timeZone={timeZone}
        />
      );
  }
}

function Variables({ variables, chosen, theme }: { variables: Variable[]; chosen: Choices; theme: GrafanaTheme2 }) {
  const box = { padding: '5px 8px', border: `1px solid ${theme.components.input.borderColor}` };
  const visible = variables.filter(({ hide }) => hide !== HIDE_VARIABLE);
  return visible.map(({ name, label }) => (
    <span key={name}>
      <span style={{ ...box, background: theme.colors.background.secondary }}>{label}</span>
      <span style={{ ...box, background: theme.components.input.background }}>{chosen.get(name)?.text}</span>
    </span>
  ));
}

interface PageProps {
  dashboard: Dashboard;
  chosen: Choices;
  drawings: Drawing[];
  theme: GrafanaTheme2;
}

function Page({ dashboard, chosen, drawings, theme }: PageProps) {
  useEffect(() => {
    // After the first render, the charts are drawn and the icons fetched asynchronously.
    setTimeout(() => (document.title = 'drawn'), 2000);
  }, []);
  const column = (window.innerWidth - 2 * PADDING - (COLUMNS - 1) * GAP) / COLUMNS;
  const pixels = (cells: number, cell: number) => cells * cell + (cells - 1) * GAP;
  const bottom = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
  return (
    <div style={{ padding: PADDING, background: theme.colors.background.canvas }}>
      <header style={{ display: 'flex', gap: 2 * GAP, alignItems: 'center', marginBottom: PADDING }}>
        <h1 style={{ ...theme.typography.h4, margin: 0, marginRight: 'auto' }}>{dashboard.title}</h1>
        <Variables variables={dashboard.templating.list} chosen={chosen} theme={theme} />
      </header>
      <main style={{ position: 'relative', height: pixels(bottom, CELL) }}>
        {dashboard.panels.map((panel, index) => {
          const { x, y, w, h } = panel.gridPos;
          const [width, height] = [pixels(w, column), pixels(h, CELL)];
          const drawing = drawings.find((each) => each.panel === panel);
          return (
            <div key={index} style={{ position: 'absolute', left: x * (column + GAP), top: y * (CELL + GAP), width, height }}>
              {drawing ? (
                <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
                  {(innerWidth, innerHeight) => content(drawing, innerWidth, innerHeight)}
                </PanelChrome>
              ) : (
                <h2 style={{ ...theme.typography.h6, margin: 0, lineHeight: `${height}px` }}>
                  <Icon name="angle-down" /> {panel.title}
                </h2>
              )}
            </div>
          );
        })}
      </main>
    </div>
  );
}

async function main(): Promise<void> {
  start();
  const asked = new URLSearchParams(location.search);
  const ask = (name: string) => {
    const value = asked.get(name);
    if (value === null) {
      throw new Error(`query parameter ${name} is missing`);
    }
    return value;
  };
  const theme = createTheme({ colors: { mode: 'dark' } });
  const [from, to] = [dateTime(Number(ask('from'))), dateTime(Number(ask('to')))];
  const timeRange = { from, to, raw: { from, to } };
  const dashboard: Dashboard = await (await fetch(`/dashboards/${ask('dashboard')}.json`)).json();
  const prometheus = new Prometheus(ask('prometheus'), timeRange, Number(ask('step')));
  const wanted = new URLSearchParams();
  asked.forEach((value, name) => name.startsWith('var-') && wanted.set(name.slice(4), value));
  const chosen = await prometheus.choose(dashboard.templating.list, wanted);
  const drawings = await Promise.all(
    dashboard.panels
      .filter(({ type }) => type !== 'row')
      .map(async (panel) => {
        const pixels = Math.round((window.innerWidth * panel.gridPos.w) / COLUMNS);
        return prepare(panel, await prometheus.frames(panel.targets, chosen, pixels), theme, timeRange);
      })
  );
  // Tables and big values measure their text, so the fonts have to be loaded first.
  await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 14px Inter`)));
  createRoot(document.body).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Page dashboard={dashboard} chosen={chosen} drawings={drawings} theme={theme} />
    </ThemeContext.Provider>
  );
}

const fail = (error: unknown) => (document.title = String(error));
window.addEventListener('error', ({ error }) => fail(error));
main().catch(fail);
