/** A state-timeline panel, made of the charts and colours of @grafana/ui: Grafana's own panel is not published. */
import { type DataFrame, type GrafanaTheme2, type TimeRange, formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation, type VizLegendOptions } from '@grafana/schema';
import { GraphNG, UPLOT_AXIS_FONT_SIZE, UPlotConfigBuilder, VizLayout, VizLegend, measureText } from '@grafana/ui';

const GAP = 16;

interface Props {
  frames: DataFrame[];
  legend: VizLegendOptions;
  rowHeight: number;
  width: number;
  height: number;
  theme: GrafanaTheme2;
  timeRange: TimeRange;
  timeZone: string;
}

/** Draw one row for each series, the first series at the top. */
export function StateTimeline({ rowHeight, theme, ...props }: Props) {
  const prepConfig = (frame: DataFrame, _: DataFrame[], getTimeRange: () => TimeRange) => {
    const builder = new UPlotConfigBuilder(props.timeZone);
    const [times, ...lanes] = frame.fields;
    const names = lanes.map((field) => getFieldDisplayName(field, frame));
    const middle = (lane: number) => 1 - (lane + 0.5) / lanes.length;
    builder.setPrepData(() => frame.fields.map((field) => field.values) as [number[], ...number[][]]);
    builder.addScale({
      scaleKey: 'x',
      isTime: true,
      orientation: ScaleOrientation.Horizontal,
      direction: ScaleDirection.Right,
      range: () => [getTimeRange().from.valueOf(), getTimeRange().to.valueOf()],
    });
    builder.addScale({
      scaleKey: 'y',
      orientation: ScaleOrientation.Vertical,
      direction: ScaleDirection.Up,
      range: [0, 1],
    });
    builder.addAxis({
      scaleKey: 'x',
      isTime: true,
      placement: AxisPlacement.Bottom,
      timeZone: props.timeZone,
      theme,
    });
    builder.addAxis({
      scaleKey: 'y',
      placement: AxisPlacement.Left,
      splits: lanes.map((_, lane) => middle(lane)),
      values: names,
      size: GAP + Math.max(...names.map((name) => measureText(name, UPLOT_AXIS_FONT_SIZE).width)),
      grid: { show: false },
      ticks: { show: false },
      gap: GAP,
      theme,
    });
    lanes.forEach(() => builder.addSeries({ scaleKey: 'y', theme, pathBuilder: () => null, pointsBuilder: () => false }));
    builder.addHook('draw', (plot) => {
      const thick = (rowHeight * plot.bbox.height) / lanes.length;
      lanes.forEach((field, lane) => {
        const top = plot.valToPos(middle(lane), 'y', true) - thick / 2;
        for (let first = 0, last = 0; first < frame.length; first = last) {
          const value = field.values[first];
          // A value is undefined at times at which only other series have a sample.
          do last++;
          while (last < frame.length && (field.values[last] === undefined || field.values[last] === value));
          if (value == null) {
            continue;
          }
          const left = plot.valToPos(times?.values[first], 'x', true);
          const right = last < frame.length ? plot.valToPos(times?.values[last], 'x', true) : plot.bbox.left + plot.bbox.width;
          plot.ctx.globalAlpha = field.config.custom.fillOpacity / 100;
          plot.ctx.fillStyle = field.display?.(value).color ?? theme.colors.text.primary;
          plot.ctx.fillRect(left, top, Math.max(1, right - left), thick);
          plot.ctx.globalAlpha = 1;
        }
      });
    });
    return builder;
  };
  const states = new Map<string, string | undefined>();
  for (const field of props.frames.flatMap((frame) => frame.fields.slice(1))) {
    for (const value of field.values) {
      const shown = field.display?.(value);
      if (shown && value != null) {
        states.set(formattedValueToString(shown), shown.color);
      }
    }
  }
  const items = [...states].map(([label, color]) => ({ label, color, yAxis: 1 }));
  const scheme = props.frames[0]?.fields[1]?.config.color?.mode;
  const renderLegend = () =>
    props.legend.showLegend && !scheme?.startsWith('continuous') ? (
      <VizLayout.Legend placement={props.legend.placement}>
        <VizLegend placement={props.legend.placement} items={items} displayMode={props.legend.displayMode} readonly />
      </VizLayout.Legend>
    ) : null;
  return <GraphNG {...props} theme={theme} prepConfig={prepConfig} renderLegend={renderLegend} />;
}
